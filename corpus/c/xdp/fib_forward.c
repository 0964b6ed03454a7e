/* Asks the routing table and forwards. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("xdp")
int route(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct bpf_fib_lookup fib = {};

	if (!FITS(ip, PKT_END(ctx)) || eth->proto != HTONS(ETH_IP) || ip->ttl <= 1)
		return XDP_PASS;
	fib.family = 2;
	fib.l4_protocol = ip->protocol;
	fib.tot_len = HTONS(ip->tot_len);
	fib.src[0] = ip->saddr;
	fib.dst[0] = ip->daddr;
	fib.ifindex = ctx->ingress_ifindex;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0))
		return XDP_PASS;
	ip->ttl--;
	COPY(eth->dst, fib.dmac, 6);
	COPY(eth->src, fib.smac, 6);
	return bpf_redirect(fib.ifindex, 0);
}
LICENSE("GPL");
