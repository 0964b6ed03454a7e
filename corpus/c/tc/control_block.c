/* Passes values between programs in skb->cb and tail-calls. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(next, MAP_PROG_ARRAY, 4);

SEC("tc")
int first(struct __sk_buff *skb)
{
	skb->cb[0] = skb->len;
	skb->cb[1] = skb->ifindex;
	skb->cb[4] = 1;
	bpf_tail_call(skb, &next, skb->cb[1] & 3);
	return TC_OK;
}

SEC("tc")
int second(struct __sk_buff *skb)
{
	return skb->cb[4] == 1 && skb->cb[0] > 9000 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
