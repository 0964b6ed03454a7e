/* A range learnt on a register does not hold for the copy in memory whose address went to a helper. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u32, u32, 8);
u32 table[8];

SEC("tc")
int through_key_bad(struct __sk_buff *skb)
{
	u32 key = skb->len & 7;

	bpf_map_lookup_elem(&m, &key);
	asm volatile("" ::: "memory");
	return table[*(volatile u32 *)&key];
}

SEC("tc")
int copied_ok(struct __sk_buff *skb)
{
	u32 i = skb->len & 7, key = i;

	bpf_map_lookup_elem(&m, &key);
	return table[i];
}
LICENSE("GPL");
