/* A variable packet offset without an upper bound. */
#include "ctx.h"
#include "net.h"

SEC("tc")
int unbounded_bad(struct __sk_buff *skb)
{
	u8 *p = PKT(skb);
	u64 off = skb->tstamp;

	p += off;
	if ((void *)(p + 1) > PKT_END(skb))
		return TC_OK;
	return *p;
}

SEC("tc")
int bounded_ok(struct __sk_buff *skb)
{
	u8 *p = PKT(skb);
	u64 off = skb->tstamp & 0xfff;

	p += off;
	if ((void *)(p + 1) > PKT_END(skb))
		return TC_OK;
	return *p;
}
LICENSE("GPL");
