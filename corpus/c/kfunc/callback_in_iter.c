/* A callback inside an iterator's loop: once a finished state of the call waits for the marks of
 * that loop, the kernel counts a repeated callback among the loop's backedges too. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

struct flags {
	u64 w;
};
DEFINE_MAP(flags, MAP_ARRAY, u32, struct flags, 1);

static int step(u32 i, void *p)
{
	return bpf_get_prandom_u32() & 1;
}

SEC("tc")
int rolls(struct __sk_buff *skb)
{
	struct bpf_iter_bits it;
	u32 zero = 0;
	struct flags *m = bpf_map_lookup_elem(&flags, &zero);
	long a = 0, b = 0;

	if (!m)
		return -1;
	bpf_iter_bits_new(&it, &m->w, 1);
	while (bpf_iter_bits_next(&it)) {
		bpf_loop(2, step, 0, 0);
		if (a == 1)
			bpf_loop(3, step, 0, 0);
		if (bpf_get_prandom_u32() > 8 && b > 3)
			continue;
		asm volatile("%0 = 3" : "=r"(a));
	}
	bpf_iter_bits_destroy(&it);
	return a + b;
}

SEC("tc")
int settles(struct __sk_buff *skb)
{
	struct bpf_iter_bits it;
	u32 zero = 0;
	struct flags *m = bpf_map_lookup_elem(&flags, &zero);
	long b = 0;

	if (!m)
		return -1;
	bpf_iter_bits_new(&it, &m->w, 1);
	while (bpf_iter_bits_next(&it)) {
		bpf_loop(2, step, 0, 0);
		if (b > 0)
			continue;
		asm volatile("%0 = 3" : "=r"(b));
		if (b > 2)
			continue;
	}
	bpf_iter_bits_destroy(&it);
	return b;
}
LICENSE("GPL");
