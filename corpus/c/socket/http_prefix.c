/* Copies payload to the stack and compares it. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("socket")
int http(struct __sk_buff *skb)
{
	u32 off = sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr);
	char p[8] = {};

	if (bpf_skb_load_bytes(skb, off, p, 7))
		return 0;
	if (p[0] == 'H' && p[1] == 'T' && p[2] == 'T' && p[3] == 'P')
		return -1;
	if (p[0] == 'P' && p[1] == 'O' && p[2] == 'S' && p[3] == 'T')
		return -1;
	return 0;
}
LICENSE("GPL");
