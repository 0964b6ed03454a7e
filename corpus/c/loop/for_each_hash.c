/* Visits a hash map's elements. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct sums {
	u64 keys, values;
};
DEFINE_MAP(table, MAP_HASH, u32, u64, 64);

static long visit(void *map, u32 *key, u64 *value, struct sums *s)
{
	s->keys += *key;
	s->values += *value;
	*value = 0;
	return 0;
}

SEC("tc")
int sum_up(struct __sk_buff *skb)
{
	struct sums s = {};

	bpf_for_each_map_elem(&table, visit, &s, 0);
	return s.values > s.keys ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
