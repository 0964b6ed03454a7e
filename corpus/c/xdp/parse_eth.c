/* Counts packets per EtherType in a hash map. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_MAP(seen, MAP_HASH, u16, u64, 64);

SEC("xdp")
int count_proto(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	u64 one = 1, *n;
	u16 proto;

	if (!FITS(eth, PKT_END(ctx)))
		return XDP_DROP;
	proto = eth->proto;
	n = bpf_map_lookup_elem(&seen, &proto);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&seen, &proto, &one, UPDATE_ANY);
	return XDP_PASS;
}
LICENSE("GPL");
