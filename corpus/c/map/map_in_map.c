/* An array of hashes: the inner map pointer is checked before use. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct inner {
	NUM(type, MAP_HASH);
	TYPE(key, u32);
	TYPE(value, u64);
	NUM(max_entries, 64);
} tenant_a MAP, tenant_b MAP;

struct {
	NUM(type, MAP_ARRAY_OF_MAPS);
	NUM(max_entries, 2);
	TYPE(key, u32);
	struct inner *values[];
} tenants MAP = { .values = { &tenant_a, &tenant_b } };

SEC("tc")
int per_tenant(struct __sk_buff *skb)
{
	u32 t = skb->mark & 1, key = skb->ifindex;
	void *inner = bpf_map_lookup_elem(&tenants, &t);
	u64 *n;

	if (!inner)
		return TC_OK;
	n = bpf_map_lookup_elem(inner, &key);
	if (n)
		*n += 1;
	return TC_OK;
}
LICENSE("GPL");
