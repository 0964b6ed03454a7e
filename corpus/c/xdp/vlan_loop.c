/* A real loop over nested VLAN tags, bounded by a constant. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int vlan_depth(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct vlanhdr *vlan = (void *)(eth + 1);
	u16 proto;
	int i;

	if (!FITS(eth, end))
		return XDP_DROP;
	proto = eth->proto;
#pragma clang loop unroll(disable)
	for (i = 0; i < 4; i++) {
		if (proto != HTONS(ETH_VLAN) && proto != HTONS(ETH_QINQ))
			break;
		if (!FITS(vlan, end))
			return XDP_DROP;
		proto = vlan->proto;
		vlan++;
	}
	return i > 2 ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
