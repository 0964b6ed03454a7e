/* The smallest XDP program. */
#include "ctx.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
LICENSE("GPL");
