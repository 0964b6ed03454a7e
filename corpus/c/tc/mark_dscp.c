/* Marks packets by their DSCP field. */
#include "ctx.h"
#include "net.h"

SEC("tc")
int mark(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);
	struct iphdr *ip = (void *)(eth + 1);

	if (!FITS(ip, PKT_END(skb)) || skb->protocol != HTONS(ETH_IP))
		return TC_OK;
	skb->mark = ip->tos >> 2;
	skb->priority = skb->mark > 40;
	return TC_OK;
}
LICENSE("GPL");
