/* Sends packets out of a port chosen by the last byte of the destination address. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_FD_ARRAY(ports, MAP_DEVMAP, 16);

SEC("xdp")
int forward(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);

	if (!FITS(eth, PKT_END(ctx)))
		return XDP_DROP;
	return bpf_redirect_map(&ports, eth->dst[5] & 15, XDP_PASS);
}
LICENSE("GPL");
