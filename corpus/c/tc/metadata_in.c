/* Reads what an XDP program left in front of the packet. */
#include "ctx.h"
#include "net.h"

struct meta {
	u32 mark, queue;
};

SEC("tc")
int take_mark(struct __sk_buff *skb)
{
	struct meta *m = PKT_META(skb);

	if ((void *)(m + 1) > PKT(skb))
		return TC_OK;
	skb->mark = m->mark;
	skb->queue_mapping = m->queue;
	return TC_OK;
}
LICENSE("GPL");
