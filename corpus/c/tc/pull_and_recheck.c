/* Pulls the header into the linear part, then checks again. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("tc")
int pull(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);
	struct iphdr *ip = (void *)(eth + 1);

	if (!FITS(ip, PKT_END(skb))) {
		if (bpf_skb_pull_data(skb, sizeof(*eth) + sizeof(*ip)))
			return TC_OK;
		eth = PKT(skb);
		ip = (void *)(eth + 1);
		if (!FITS(ip, PKT_END(skb)))
			return TC_OK;
	}
	return eth->proto == HTONS(ETH_IP) && ip->ttl == 0 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
