/* A global function that takes the context. */
#include "ctx.h"
#include "helpers.h"

NOINLINE int stamp(struct __sk_buff *skb)
{
	skb->mark = bpf_get_prandom_u32();
	return 0;
}

SEC("tc")
int via_global(struct __sk_buff *skb)
{
	stamp(skb);
	return skb->mark & 1 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
