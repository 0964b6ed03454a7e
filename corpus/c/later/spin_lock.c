/* A lock inside a map value. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct bpf_spin_lock {
	u32 val;
};
struct counter {
	struct bpf_spin_lock lock;
	u32 n;
	u64 sum;
};
DEFINE_MAP(counters, MAP_ARRAY, u32, struct counter, 4);

SEC("tc")
int locked(struct __sk_buff *skb)
{
	u32 key = skb->ifindex & 3;
	struct counter *c = bpf_map_lookup_elem(&counters, &key);

	if (!c)
		return TC_OK;
	bpf_spin_lock(&c->lock);
	c->n++;
	c->sum += skb->len;
	bpf_spin_unlock(&c->lock);
	return TC_OK;
}

SEC("tc")
int held_at_exit_bad(struct __sk_buff *skb)
{
	u32 key = 0;
	struct counter *c = bpf_map_lookup_elem(&counters, &key);

	if (!c)
		return TC_OK;
	bpf_spin_lock(&c->lock);
	c->n++;
	return TC_OK;
}
LICENSE("GPL");
