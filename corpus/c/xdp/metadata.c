/* Reserves metadata in front of the packet and fills it. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

struct meta {
	u32 mark;
	u32 queue;
};

SEC("xdp")
int tag(struct xdp_md *ctx)
{
	struct meta *m;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*m)))
		return XDP_PASS;
	m = PKT_META(ctx);
	if ((void *)(m + 1) > PKT(ctx))
		return XDP_ABORTED;
	m->mark = 0x2a;
	m->queue = ctx->rx_queue_index;
	return XDP_PASS;
}
LICENSE("GPL");
