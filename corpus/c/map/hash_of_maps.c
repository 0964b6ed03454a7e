/* A hash of arrays, filled from outside. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_HASH_OF_MAPS);
	NUM(max_entries, 8);
	TYPE(key, u32);
	struct {
		NUM(type, MAP_ARRAY);
		TYPE(key, u32);
		TYPE(value, u32);
		NUM(max_entries, 4);
	} *values[];
} by_port MAP;

SEC("tc")
int lookup_twice(struct __sk_buff *skb)
{
	u32 port = skb->ifindex, slot = skb->len & 3, *v;
	void *inner = bpf_map_lookup_elem(&by_port, &port);

	if (!inner)
		return TC_OK;
	v = bpf_map_lookup_elem(inner, &slot);
	return v && *v ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
