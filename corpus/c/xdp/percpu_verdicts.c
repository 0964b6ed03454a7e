/* Per-CPU array indexed by the verdict. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(verdicts, MAP_PERCPU_ARRAY, u32, u64, 5);

SEC("xdp")
int count_verdict(struct xdp_md *ctx)
{
	u32 verdict = ctx->rx_queue_index & 1 ? XDP_DROP : XDP_PASS;
	u64 *n = bpf_map_lookup_elem(&verdicts, &verdict);

	if (n)
		(*n)++;
	return verdict;
}
LICENSE("GPL");
