/* A packet pointer kept over a helper that may move the packet. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("tc")
int stale_bad(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);

	if (!FITS(eth, PKT_END(skb)))
		return TC_OK;
	bpf_skb_pull_data(skb, 64);
	return eth->proto == HTONS(ETH_IP) ? TC_SHOT : TC_OK;
}

SEC("tc")
int fresh_ok(struct __sk_buff *skb)
{
	struct ethhdr *eth;

	bpf_skb_pull_data(skb, 64);
	eth = PKT(skb);
	if (!FITS(eth, PKT_END(skb)))
		return TC_OK;
	return eth->proto == HTONS(ETH_IP) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
