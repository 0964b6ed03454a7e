/* Reading past data_end. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int unchecked_bad(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);

	return eth->proto == HTONS(ETH_IP) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int off_by_one_bad(struct xdp_md *ctx)
{
	u8 *p = PKT(ctx);

	if ((void *)(p + 14) > PKT_END(ctx))
		return XDP_PASS;
	return p[14];
}

SEC("xdp")
int wrong_way_bad(struct xdp_md *ctx)
{
	u8 *p = PKT(ctx);

	if ((void *)(p + 15) <= PKT_END(ctx))
		return XDP_PASS;
	return p[14];
}

SEC("xdp")
int checked_ok(struct xdp_md *ctx)
{
	u8 *p = PKT(ctx);

	if ((void *)(p + 15) > PKT_END(ctx))
		return XDP_PASS;
	return p[14];
}
LICENSE("GPL");
