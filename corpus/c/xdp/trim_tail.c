/* Cuts the packet to 128 bytes. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("xdp")
int trim(struct xdp_md *ctx)
{
	int len = PKT_END(ctx) - PKT(ctx);

	if (len > 128 && bpf_xdp_adjust_tail(ctx, 128 - len))
		return XDP_ABORTED;
	return XDP_PASS;
}
LICENSE("GPL");
