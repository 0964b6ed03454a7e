/* A map value handed down, checked by the caller. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct stats {
	u64 n, sum, max;
};
DEFINE_MAP(stats, MAP_ARRAY, u32, struct stats, 4);

static NOINLINE void add(struct stats *s, u64 v)
{
	s->n++;
	s->sum += v;
	if (v > s->max)
		s->max = v;
}

SEC("tc")
int collect(struct __sk_buff *skb)
{
	u32 key = skb->ifindex & 3;
	struct stats *s = bpf_map_lookup_elem(&stats, &key);

	if (!s)
		return TC_OK;
	add(s, skb->len);
	return TC_OK;
}
LICENSE("GPL");
