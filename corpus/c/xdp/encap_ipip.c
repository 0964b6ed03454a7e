/* Grows the head, then has to check the packet again before writing the outer header. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("xdp")
int encap(struct xdp_md *ctx)
{
	struct ethhdr *eth, *old = PKT(ctx);
	struct iphdr *outer, *inner;
	u16 *word;
	u32 sum = 0;

	if ((void *)(old + 1) + sizeof(*inner) > PKT_END(ctx) || old->proto != HTONS(ETH_IP))
		return XDP_PASS;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return XDP_DROP;
	eth = PKT(ctx);
	old = (void *)eth + sizeof(*outer);
	outer = (void *)(eth + 1);
	inner = (void *)(outer + 1);
	if (!FITS(inner, PKT_END(ctx)))
		return XDP_DROP;
	COPY(eth, old, sizeof(*eth));
	ZERO(*outer);
	outer->version = 4;
	outer->ihl = 5;
	outer->ttl = 64;
	outer->protocol = PROTO_IPIP;
	outer->saddr = HTONL(0x0a000001);
	outer->daddr = inner->daddr;
	outer->tot_len = HTONS(HTONS(inner->tot_len) + sizeof(*outer));
	word = (void *)outer;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	outer->check = ~(u16)(sum + (sum >> 16));
	return XDP_TX;
}
LICENSE("GPL");
