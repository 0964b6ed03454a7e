/* The stack where a map is expected. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u32, u32, 4);

SEC("tc")
int stack_as_map_bad(struct __sk_buff *skb)
{
	u32 key = skb->len;

	return bpf_map_lookup_elem(&key, &key) ? TC_SHOT : TC_OK;
}

SEC("tc")
int map_as_map_ok(struct __sk_buff *skb)
{
	u32 key = skb->len;

	return bpf_map_lookup_elem(&m, &key) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
