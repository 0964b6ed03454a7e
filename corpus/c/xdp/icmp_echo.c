/* Answers pings in place: swaps addresses, patches the checksum incrementally. */
#include "ctx.h"
#include "net.h"

INLINE u16 csum_add(u16 sum, u16 add)
{
	u32 s = (u32)sum + add;

	return (u16)(s + (s >> 16));
}

SEC("xdp")
int echo(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct icmphdr *icmp = (void *)(ip + 1);
	u8 mac[6];
	u32 addr;

	if (!FITS(icmp, PKT_END(ctx)))
		return XDP_PASS;
	if (eth->proto != HTONS(ETH_IP) || ip->ihl != 5 || ip->protocol != PROTO_ICMP || icmp->type != 8)
		return XDP_PASS;
	COPY(mac, eth->dst, 6);
	COPY(eth->dst, eth->src, 6);
	COPY(eth->src, mac, 6);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	icmp->type = 0;
	icmp->checksum = csum_add(icmp->checksum, HTONS(0x0800));
	return XDP_TX;
}
LICENSE("GPL");
