/* Finds the MSS option: a loop whose step comes from the packet. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int mss(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	u8 *opt, *stop;

	if (!FITS(tcp, end) || eth->proto != HTONS(ETH_IP) || ip->ihl != 5 || ip->protocol != PROTO_TCP)
		return XDP_PASS;
	opt = (void *)(tcp + 1);
	stop = (void *)tcp + tcp->doff * 4;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		if (opt >= stop || (void *)(opt + 4) > end)
			break;
		if (opt[0] == 0)
			break;
		if (opt[0] == 1) {
			opt++;
			continue;
		}
		if (opt[0] == 2)
			return opt[2] < 2 ? XDP_DROP : XDP_PASS;
		if (opt[1] < 2)
			break;
		opt += opt[1];
	}
	return XDP_PASS;
}
LICENSE("GPL");
