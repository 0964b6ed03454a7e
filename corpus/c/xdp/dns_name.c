/* Walks the labels of a DNS question: data-dependent packet offsets inside a bounded loop. */
#include "ctx.h"
#include "net.h"

#define MAX_LABELS 16

SEC("xdp")
int dns_labels(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	u8 *at = (void *)(udp + 1) + 12;
	int labels;

	if (!FITS(udp, end) || eth->proto != HTONS(ETH_IP) || udp->dest != HTONS(53))
		return XDP_PASS;
#pragma clang loop unroll(disable)
	for (labels = 0; labels < MAX_LABELS; labels++) {
		u8 len;

		if ((void *)(at + 1) > end)
			return XDP_DROP;
		len = *at;
		if (!len)
			break;
		if (len > 63)
			return XDP_DROP;
		at += len + 1;
	}
	return labels > 8 ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
