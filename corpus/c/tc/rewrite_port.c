/* Writes a port and repairs both checksums; every helper invalidates the packet pointers. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

#define L4 (sizeof(struct ethhdr) + sizeof(struct iphdr))

SEC("tc")
int rewrite(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	u16 from, to = HTONS(8080);

	if (!FITS(tcp, PKT_END(skb)) || eth->proto != HTONS(ETH_IP) || ip->protocol != PROTO_TCP || ip->ihl != 5)
		return TC_OK;
	if (tcp->dest != HTONS(80))
		return TC_OK;
	from = tcp->dest;
	bpf_l4_csum_replace(skb, L4 + OFFSET_OF(struct tcphdr, check), from, to, sizeof(to));
	bpf_skb_store_bytes(skb, L4 + OFFSET_OF(struct tcphdr, dest), &to, sizeof(to), 0);
	return TC_OK;
}
LICENSE("GPL");
