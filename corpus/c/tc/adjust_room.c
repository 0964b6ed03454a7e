/* Makes room for an outer header and writes it. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("tc")
int add_udp(struct __sk_buff *skb)
{
	struct udphdr udp = { .source = HTONS(5000), .dest = HTONS(6000) };

	if (skb->protocol != HTONS(ETH_IP) || skb->len > 1400)
		return TC_OK;
	if (bpf_skb_adjust_room(skb, sizeof(udp), 0, 0))
		return TC_SHOT;
	udp.len = HTONS((u16)(skb->len - sizeof(struct ethhdr) - sizeof(struct iphdr)));
	if (bpf_skb_store_bytes(skb, sizeof(struct ethhdr) + sizeof(struct iphdr), &udp, sizeof(udp), 0))
		return TC_SHOT;
	return TC_OK;
}
LICENSE("GPL");
