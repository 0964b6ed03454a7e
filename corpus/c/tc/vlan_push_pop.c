/* Tags untagged packets, untags tagged ones. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

const volatile u16 tag = 100;

SEC("tc")
int vlan(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return bpf_skb_vlan_pop(skb) ? TC_SHOT : TC_OK;
	return bpf_skb_vlan_push(skb, HTONS(ETH_VLAN), tag & 0xfff) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
