/* Removes a GRE header of variable length. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx), saved;
	struct iphdr *ip = (void *)(eth + 1);
	u16 *gre = (void *)(ip + 1);
	int len = sizeof(*ip) + 4;

	if ((void *)(gre + 2) > end || eth->proto != HTONS(ETH_IP))
		return XDP_PASS;
	if (ip->ihl != 5 || ip->protocol != PROTO_GRE)
		return XDP_PASS;
	if (gre[0] & HTONS(0x2000))
		len += 4;
	if (gre[0] & HTONS(0x8000))
		len += 4;
	saved = *eth;
	if (bpf_xdp_adjust_head(ctx, len))
		return XDP_DROP;
	eth = PKT(ctx);
	if (!FITS(eth, PKT_END(ctx)))
		return XDP_DROP;
	*eth = saved;
	return XDP_PASS;
}
LICENSE("GPL");
