/* A number where a pointer to the key is expected. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u32, u32, 4);

SEC("tc")
int number_as_key_bad(struct __sk_buff *skb)
{
	return bpf_map_lookup_elem(&m, (void *)(long)skb->len) ? TC_SHOT : TC_OK;
}

SEC("tc")
int pointer_as_key_ok(struct __sk_buff *skb)
{
	u32 key = skb->len;

	return bpf_map_lookup_elem(&m, &key) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
