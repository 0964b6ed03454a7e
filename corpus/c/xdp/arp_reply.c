/* Reads ARP and compares with a configured address. */
#include "ctx.h"
#include "net.h"

const volatile u8 our_addr[4] = { 10, 0, 0, 1 };

SEC("xdp")
int arp_for_us(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct arphdr *arp = (void *)(eth + 1);

	if (!FITS(arp, PKT_END(ctx)) || eth->proto != HTONS(ETH_ARP))
		return XDP_PASS;
	for (int i = 0; i < 4; i++)
		if (arp->tpa[i] != our_addr[i])
			return XDP_PASS;
	return arp->oper == HTONS(1) ? XDP_TX : XDP_PASS;
}
LICENSE("GPL");
