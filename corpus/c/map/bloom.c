/* A bloom filter in front of a hash. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_BLOOM_FILTER);
	TYPE(value, u32);
	NUM(max_entries, 1024);
	NUM(map_extra, 3);
} maybe MAP;
DEFINE_MAP(sure, MAP_HASH, u32, u8, 1024);

SEC("tc")
int two_steps(struct __sk_buff *skb)
{
	u32 key = skb->hash;

	if (bpf_map_peek_elem(&maybe, &key))
		return TC_OK;
	return bpf_map_lookup_elem(&sure, &key) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
