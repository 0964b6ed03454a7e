/* A map the program may only read, and its write-only sibling. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_HASH);
	TYPE(key, u32);
	TYPE(value, u32);
	NUM(max_entries, 8);
	NUM(map_flags, RDONLY_PROG);
} policy MAP;
struct {
	NUM(type, MAP_ARRAY);
	TYPE(key, u32);
	TYPE(value, u32);
	NUM(max_entries, 8);
	NUM(map_flags, WRONLY_PROG);
} report MAP;

SEC("tc")
int read_one_write_other(struct __sk_buff *skb)
{
	u32 key = skb->ifindex, slot = skb->len & 7, value = 1;
	u32 *p = bpf_map_lookup_elem(&policy, &key);

	if (p)
		value = *p;
	bpf_map_update_elem(&report, &slot, &value, UPDATE_ANY);
	return TC_OK;
}

SEC("tc")
int write_readonly_bad(struct __sk_buff *skb)
{
	u32 key = skb->ifindex, *p = bpf_map_lookup_elem(&policy, &key);

	if (p)
		*p = 1;
	return TC_OK;
}

SEC("tc")
int read_writeonly_bad(struct __sk_buff *skb)
{
	u32 slot = 0, *p = bpf_map_lookup_elem(&report, &slot);

	return p ? *p : 0;
}
LICENSE("GPL");
