/* A callback that calls bpf_loop itself. */
#include "ctx.h"
#include "helpers.h"

u32 cells[16];

static long inner(u32 j, u32 *i)
{
	u32 at = *i * 4 + j;

	if (at >= ARRAY_LEN(cells))
		return 1;
	cells[at]++;
	return 0;
}

static long outer(u32 i, void *unused)
{
	bpf_loop(4, inner, &i, 0);
	return 0;
}

SEC("tc")
int grid(struct __sk_buff *skb)
{
	bpf_loop(4, outer, 0, 0);
	return TC_OK;
}
LICENSE("GPL");
