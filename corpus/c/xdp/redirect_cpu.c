/* Spreads packets over CPUs by a hash of the addresses. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_FD_ARRAY(cpus, MAP_CPUMAP, 8);
const volatile u32 ncpus = 4;

SEC("xdp")
int spread(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	u32 h;

	if (!FITS(ip, PKT_END(ctx)) || eth->proto != HTONS(ETH_IP))
		return XDP_PASS;
	h = ip->saddr ^ ip->daddr;
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	return bpf_redirect_map(&cpus, h % ncpus, 0);
}
LICENSE("GPL");
