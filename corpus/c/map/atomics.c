/* Every atomic operation of cpu v3 (v2 has only the first). */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct cell {
	u64 add, or, and, xor, old, swap;
	u32 add32;
};
DEFINE_MAP(cells, MAP_ARRAY, u32, struct cell, 1);

SEC("tc")
int operate(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct cell *c = bpf_map_lookup_elem(&cells, &zero);

	if (!c)
		return TC_OK;
	__sync_fetch_and_add(&c->add, 1);
	__sync_fetch_and_add(&c->add32, 1);
#if __BPF_CPU_VERSION__ >= 3
	__sync_fetch_and_or(&c->or, 2);
	__sync_fetch_and_and(&c->and, 3);
	__sync_fetch_and_xor(&c->xor, 4);
	c->old = __sync_fetch_and_add(&c->add, skb->len);
	c->old += __sync_val_compare_and_swap(&c->swap, 5, 6);
	c->old += __sync_lock_test_and_set(&c->swap, 7);
#endif
	return TC_OK;
}
LICENSE("GPL");
