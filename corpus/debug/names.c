/* Rejections whose explanation needs names of variables, fields and arrays: this object keeps its DWARF. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct settings {
	u32 kind;
	u32 slots[5];
	u8 tail[12];
};
DEFINE_MAP(settings, MAP_ARRAY, u32, struct settings, 4);

struct event {
	u32 pid;
	u8 kind;
	u64 when;
};
DEFINE_MAP(events, MAP_HASH, u32, struct event, 16);

/* sizeof() counts bytes, the array has 5 elements. */
INLINE u32 slot_of(struct settings *set, u32 selector)
{
	if (selector >= sizeof(set->slots))
		return 0;
	return set->slots[selector];
}

SEC("tc")
int element_bad(struct __sk_buff *skb)
{
	u32 key = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &key);

	if (!set)
		return 0;
	return slot_of(set, skb->mark);
}

/* `pid` is written by nobody; who has CAP_PERFMON may pass it as it is. */
SEC("tc")
int member_bad(struct __sk_buff *skb)
{
	u32 key = 0;
	struct event local;

	local.kind = skb->len;
	local.when = 1;
	bpf_map_update_elem(&events, &key, &local, 0);
	return 0;
}

SEC("tc")
int unchecked_bad(struct __sk_buff *skb)
{
	u32 key = skb->mark;
	struct event *found = bpf_map_lookup_elem(&events, &key);

	return found->kind;
}
LICENSE("GPL");
