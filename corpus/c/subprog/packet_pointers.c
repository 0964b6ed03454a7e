/* Packet pointers as arguments; the range learnt inside does not come back with the verdict. */
#include "ctx.h"
#include "net.h"

static NOINLINE u32 port_of(void *l4, void *end)
{
	struct udphdr *udp = l4;

	if (!FITS(udp, end))
		return 0;
	return HTONS(udp->dest);
}

SEC("xdp")
int ports(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);

	if (!FITS(ip, PKT_END(ctx)))
		return XDP_DROP;
	return port_of(ip + 1, PKT_END(ctx)) == 53 ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
