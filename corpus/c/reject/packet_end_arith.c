/* Arithmetic on data_end. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int end_minus_bad(struct xdp_md *ctx)
{
	u8 *p = PKT(ctx), *end = PKT_END(ctx);

	end -= 1;
	OPAQUE(end);
	return p > end ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int start_plus_ok(struct xdp_md *ctx)
{
	u8 *p = PKT(ctx), *end = PKT_END(ctx);

	return p + 1 > end ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
