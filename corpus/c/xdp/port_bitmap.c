/* A bitmap of ports in a map value, indexed by a 16-bit number. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct bitmap {
	u64 words[1024];
};
DEFINE_MAP(ports, MAP_ARRAY, u32, struct bitmap, 1);

SEC("xdp")
int allow(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct bitmap *map;
	u32 zero = 0;
	u16 port;

	if (!FITS(udp, PKT_END(ctx)) || eth->proto != HTONS(ETH_IP))
		return XDP_PASS;
	map = bpf_map_lookup_elem(&ports, &zero);
	if (!map)
		return XDP_PASS;
	port = HTONS(udp->dest);
	return map->words[port >> 6] >> (port & 63) & 1 ? XDP_PASS : XDP_DROP;
}
LICENSE("GPL");
