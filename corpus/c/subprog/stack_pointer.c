/* A callee writes into its caller's stack. */
#include "ctx.h"

struct pair {
	u64 a, b;
};

static NOINLINE void fill(struct pair *p, u32 x)
{
	p->a = x;
	p->b = x * 3;
}

SEC("tc")
int out_param(struct __sk_buff *skb)
{
	struct pair p;

	fill(&p, skb->len);
	return p.b - p.a > 3000 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
