/* Hidden visibility: the loader makes it static, so its argument's range is known. */
#include "ctx.h"

u32 cells[4];

HIDDEN NOINLINE int bump(u32 i)
{
	return ++cells[i & 3];
}

SEC("tc")
int use_hidden(struct __sk_buff *skb)
{
	return bump(skb->len & 1) > 100 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
