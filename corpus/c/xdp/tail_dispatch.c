/* Dispatches by protocol through a program array. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_FD_ARRAY(stages, MAP_PROG_ARRAY, 8);

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);

	if (!FITS(ip, PKT_END(ctx)))
		return XDP_DROP;
	switch (ip->protocol) {
	case PROTO_TCP:
		bpf_tail_call(ctx, &stages, 0);
		break;
	case PROTO_UDP:
		bpf_tail_call(ctx, &stages, 1);
		break;
	default:
		bpf_tail_call(ctx, &stages, ip->protocol & 7);
	}
	return XDP_PASS;
}

SEC("xdp")
int stage_tcp(struct xdp_md *ctx)
{
	return PKT_END(ctx) - PKT(ctx) > 1400 ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
