/* A global function with a pointer argument: it must expect null. */
#include "ctx.h"

struct point {
	u32 x, y;
};

NOINLINE int norm(const struct point *p)
{
	if (!p)
		return -1;
	return p->x * p->x + p->y * p->y;
}

SEC("tc")
int distance(struct __sk_buff *skb)
{
	struct point p = { .x = skb->len, .y = skb->mark };

	return norm(&p) > 100 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
