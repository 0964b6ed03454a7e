/* Five-tuple as a hash key on the stack. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct flow {
	u32 saddr, daddr;
	u16 sport, dport;
	u8 proto, pad[3];
};
struct usage {
	u64 packets, bytes;
};

DEFINE_MAP(flows, MAP_LRU_HASH, struct flow, struct usage, 4096);

SEC("xdp")
int account(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *l4;
	struct flow key = {};
	struct usage *u, fresh = { .packets = 1 };

	if (!FITS(ip, end) || eth->proto != HTONS(ETH_IP) || ip->ihl != 5)
		return XDP_PASS;
	if (ip->protocol != PROTO_TCP && ip->protocol != PROTO_UDP)
		return XDP_PASS;
	l4 = (void *)(ip + 1);
	if (!FITS(l4, end))
		return XDP_PASS;
	key.saddr = ip->saddr;
	key.daddr = ip->daddr;
	key.proto = ip->protocol;
	key.sport = l4->source;
	key.dport = l4->dest;
	u = bpf_map_lookup_elem(&flows, &key);
	if (u) {
		u->packets++;
		u->bytes += end - (void *)eth;
	} else {
		fresh.bytes = end - (void *)eth;
		bpf_map_update_elem(&flows, &key, &fresh, UPDATE_NOEXIST);
	}
	return XDP_PASS;
}
LICENSE("GPL");
