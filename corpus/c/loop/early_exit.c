/* Leaves from the middle, with state after the loop that depends on how. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(rules, MAP_ARRAY, u32, u32, 16);

SEC("tc")
int first_match(struct __sk_buff *skb)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 16; i++) {
		u32 key = i, *rule = bpf_map_lookup_elem(&rules, &key);

		if (!rule)
			return TC_SHOT;
		if (*rule == skb->mark)
			return i & 1 ? TC_SHOT : TC_OK;
	}
	return TC_OK;
}
LICENSE("GPL");
