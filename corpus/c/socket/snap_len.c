/* Truncates: the return value is a length. */
#include "ctx.h"

SEC("socket")
int snap(struct __sk_buff *skb)
{
	return skb->len > 96 ? 96 : -1;
}
LICENSE("MIT");
