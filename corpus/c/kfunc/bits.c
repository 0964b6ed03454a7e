/* The iterator over bits of a map's value; per-CPU objects and read-side sections. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

struct words {
	u64 w[4];
};
DEFINE_MAP(masks, MAP_ARRAY, u32, struct words, 1);

SEC("tc")
int positions(struct __sk_buff *skb)
{
	struct bpf_iter_bits it;
	u32 zero = 0;
	struct words *m = bpf_map_lookup_elem(&masks, &zero);
	u64 sum = 0;
	int *bit;

	if (!m)
		return -1;
	m->w[0] = skb->len;
	m->w[3] = 1ull << (skb->len & 63);
	bpf_preempt_disable();
	bpf_preempt_enable();
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	bpf_iter_bits_new(&it, m->w, skb->len & 1 ? 1 : 4);
	while ((bit = bpf_iter_bits_next(&it)))
		sum = sum * 257 + *bit;
	bpf_iter_bits_destroy(&it);
	bpf_iter_bits_new(&it, m->w, 0);
	while ((bit = bpf_iter_bits_next(&it)))
		sum += 1000000;
	bpf_iter_bits_destroy(&it);
	return sum;
}
LICENSE("GPL");
