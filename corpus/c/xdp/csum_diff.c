/* Rewrites an address and repairs the checksum with bpf_csum_diff. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("xdp")
int nat(struct xdp_md *ctx)
{
	struct ethhdr *eth = PKT(ctx);
	struct iphdr *ip = (void *)(eth + 1);
	u32 from, to = HTONL(0xc0a80001);
	s64 sum;

	if (!FITS(ip, PKT_END(ctx)) || eth->proto != HTONS(ETH_IP))
		return XDP_PASS;
	from = ip->daddr;
	sum = bpf_csum_diff(&from, sizeof(from), &to, sizeof(to), (u16)~ip->check);
	sum = (sum & 0xffff) + ((u64)sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->daddr = to;
	ip->check = ~sum;
	return XDP_PASS;
}
LICENSE("GPL");
