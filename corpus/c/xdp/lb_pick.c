/* Picks a backend from an array by jhash-like mixing, with a checked index. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct backend {
	u32 addr;
	u8 mac[6];
	u16 flags;
};

DEFINE_MAP(backends, MAP_ARRAY, u32, struct backend, 64);
u64 picked[64];

INLINE u32 rol(u32 x, int n)
{
	return (x << n) | (x >> (32 - n));
}

SEC("xdp")
int pick(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct backend *b;
	u32 a, c, idx;

	if (!FITS(udp, end) || eth->proto != HTONS(ETH_IP) || ip->ihl != 5 || ip->protocol != PROTO_UDP)
		return XDP_PASS;
	a = ip->saddr + 0xdeadbeef;
	c = ((u32)udp->source << 16 | udp->dest) + 0xdeadbeef;
	c ^= a;
	c -= rol(a, 14);
	a ^= c;
	a -= rol(c, 11);
	idx = (a ^ c) & 63;
	b = bpf_map_lookup_elem(&backends, &idx);
	if (!b || !(b->flags & 1))
		return XDP_DROP;
	/* The key went through memory, so its range is not known any more. */
	idx &= 63;
	OPAQUE(idx);
	if (idx < ARRAY_LEN(picked))
		picked[idx]++;
	COPY(eth->dst, b->mac, 6);
	ip->daddr = b->addr;
	return XDP_TX;
}
LICENSE("GPL");
