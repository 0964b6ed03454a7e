/* Calls four deep, each with its own frame. */
#include "ctx.h"

static NOINLINE u64 d(u64 x)
{
	volatile u64 v = x + 4;

	return v;
}
static NOINLINE u64 c(u64 x)
{
	volatile u64 v = x + 3;

	return d(v) * 2;
}
static NOINLINE u64 b(u64 x)
{
	volatile u64 v = x + 2;

	return c(v) * 3;
}
static NOINLINE u64 a(u64 x)
{
	volatile u64 v = x + 1;

	return b(v) * 5;
}

SEC("tc")
int deep(struct __sk_buff *skb)
{
	return a(skb->len) > 1000 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
