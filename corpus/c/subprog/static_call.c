/* A static function kept out of line. */
#include "ctx.h"
#include "net.h"

static NOINLINE int is_ipv4(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);

	return FITS(eth, PKT_END(skb)) && eth->proto == HTONS(ETH_IP);
}

SEC("tc")
int caller(struct __sk_buff *skb)
{
	return is_ipv4(skb) ? TC_OK : TC_SHOT;
}
LICENSE("GPL");
