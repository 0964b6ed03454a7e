/* Longest-prefix match on the source address. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct lpm_key {
	u32 prefixlen;
	u32 addr;
};

struct {
	NUM(type, MAP_LPM_TRIE);
	TYPE(key, struct lpm_key);
	TYPE(value, u64);
	NUM(max_entries, 1024);
	NUM(map_flags, NO_PREALLOC);
} blocked MAP;

SEC("xdp")
int block(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct lpm_key key = { .prefixlen = 32 };
	u64 *hits;

	if (!FITS(ip, PKT_END(ctx)) || eth->proto != HTONS(ETH_IP))
		return XDP_PASS;
	key.addr = ip->saddr;
	hits = bpf_map_lookup_elem(&blocked, &key);
	if (!hits)
		return XDP_PASS;
	*hits += 1;
	return XDP_DROP;
}
LICENSE("GPL");
