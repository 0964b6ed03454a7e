/* Walks Ethernet, IPv4 with options, TCP; drops SYN to a port. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int drop_syn(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp;
	u32 hlen;

	if (!FITS(ip, end) || eth->proto != HTONS(ETH_IP) || ip->protocol != PROTO_TCP)
		return XDP_PASS;
	hlen = ip->ihl * 4;
	if (hlen < sizeof(*ip))
		return XDP_DROP;
	tcp = (void *)ip + hlen;
	if (!FITS(tcp, end))
		return XDP_DROP;
	return tcp->syn && !tcp->ack && tcp->dest == HTONS(23) ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
