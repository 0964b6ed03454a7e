/* Reads headers by copying them to the stack: no packet pointers at all. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("tc")
int copy_headers(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct udphdr udp;

	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &ip, sizeof(ip)))
		return TC_OK;
	if (ip.version != 4 || ip.protocol != PROTO_UDP)
		return TC_OK;
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + ip.ihl * 4, &udp, sizeof(udp)))
		return TC_OK;
	return udp.dest == HTONS(9) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
