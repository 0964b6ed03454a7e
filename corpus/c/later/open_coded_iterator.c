/* A numeric iterator: kfuncs from the kernel's BTF. */
#include "ctx.h"

struct bpf_iter_num {
	u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) WEAK __attribute__((section(".ksyms")));
extern int *bpf_iter_num_next(struct bpf_iter_num *it) WEAK __attribute__((section(".ksyms")));
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) WEAK __attribute__((section(".ksyms")));

u32 table[16];

SEC("tc")
int iterate(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	int *i;

	bpf_iter_num_new(&it, 0, 1000);
	while ((i = bpf_iter_num_next(&it))) {
		u32 k = *i;

		if (k < ARRAY_LEN(table))
			table[k]++;
	}
	bpf_iter_num_destroy(&it);
	return TC_OK;
}
LICENSE("GPL");
