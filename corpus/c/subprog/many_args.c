/* Five arguments. */
#include "ctx.h"

static NOINLINE u32 mix(u32 a, u32 b, u32 c, u32 d, u32 e)
{
	return a * 3 ^ b * 5 ^ c * 7 ^ d * 11 ^ e * 13;
}

SEC("tc")
int five(struct __sk_buff *skb)
{
	u32 h = mix(skb->len, skb->mark, skb->ifindex, skb->priority, skb->hash);

	h = mix(h, h >> 3, h >> 5, h >> 7, h >> 11);
	return h & 1 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
