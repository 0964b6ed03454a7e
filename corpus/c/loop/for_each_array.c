/* Visits an array; the key's range is not known. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(weights, MAP_ARRAY, u32, u32, 32);
u32 copy[32];

static long visit(void *map, u32 *key, u32 *value, void *unused)
{
	u32 k = *key;

	if (k < ARRAY_LEN(copy))
		copy[k] = *value;
	return 0;
}

SEC("tc")
int snapshot(struct __sk_buff *skb)
{
	bpf_for_each_map_elem(&weights, visit, 0, 0);
	return TC_OK;
}
LICENSE("GPL");
