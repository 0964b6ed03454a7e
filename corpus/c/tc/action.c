/* The same in an action program: a different type, the same context. */
#include "ctx.h"
#include "helpers.h"

SEC("action")
int classify(struct __sk_buff *skb)
{
	if (skb->pkt_type == 1)
		return TC_SHOT;
	skb->tc_index = skb->hash & 0xff;
	return bpf_redirect(skb->ifindex, 1);
}
LICENSE("GPL");
