/* Using a lookup's result without asking whether it is there. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u32, u64, 8);

SEC("tc")
int unchecked_bad(struct __sk_buff *skb)
{
	u32 key = skb->ifindex;
	u64 *v = bpf_map_lookup_elem(&m, &key);

	*v += 1;
	return TC_OK;
}

SEC("tc")
int wrong_branch_bad(struct __sk_buff *skb)
{
	u32 key = skb->ifindex;
	u64 *v = bpf_map_lookup_elem(&m, &key);

	if (!v)
		*(volatile u64 *)v = 1;
	return TC_OK;
}

SEC("tc")
int arithmetic_bad(struct __sk_buff *skb)
{
	u32 key = skb->ifindex;
	u8 *v = bpf_map_lookup_elem(&m, &key);

	v += 4;
	OPAQUE(v);
	return v ? *v : 0;
}

SEC("tc")
int checked_ok(struct __sk_buff *skb)
{
	u32 key = skb->ifindex;
	u64 *v = bpf_map_lookup_elem(&m, &key);

	if (v)
		*v += 1;
	return TC_OK;
}
LICENSE("GPL");
