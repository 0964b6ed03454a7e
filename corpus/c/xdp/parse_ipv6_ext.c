/* Walks a bounded chain of IPv6 extension headers; every step moves the packet pointer by a variable amount. */
#include "ctx.h"
#include "net.h"

#define MAX_EXT 6

INLINE int is_ext(u8 next)
{
	return next == 0 || next == 43 || next == 60 || next == 44;
}

SEC("xdp")
int ipv6_upper(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	void *at = ip6 + 1;
	u8 next;

	if (!FITS(ip6, end) || eth->proto != HTONS(ETH_IPV6))
		return XDP_PASS;
	next = ip6->nexthdr;
#pragma unroll
	for (int i = 0; i < MAX_EXT; i++) {
		struct ipv6_opt *opt = at;

		if (!is_ext(next))
			break;
		if (!FITS(opt, end))
			return XDP_DROP;
		at += next == 44 ? 8 : (opt->hdrlen + 1) * 8;
		next = opt->nexthdr;
	}
	if (is_ext(next))
		return XDP_DROP;
	if (next == PROTO_UDP) {
		struct udphdr *udp = at;

		if (!FITS(udp, end))
			return XDP_DROP;
		if (udp->dest == HTONS(53))
			return XDP_DROP;
	}
	return XDP_PASS;
}
LICENSE("GPL");
