/* Packet writes where the type may only read. */
#include "ctx.h"
#include "net.h"

SEC("cgroup_skb/ingress")
int write_bad(struct __sk_buff *skb)
{
	u8 *p = PKT(skb);

	if ((void *)(p + 1) > PKT_END(skb))
		return 1;
	*p = 0;
	return 1;
}

SEC("cgroup_skb/ingress")
int read_ok(struct __sk_buff *skb)
{
	u8 *p = PKT(skb);

	if ((void *)(p + 1) > PKT_END(skb))
		return 1;
	return *p >> 7;
}
LICENSE("GPL");
