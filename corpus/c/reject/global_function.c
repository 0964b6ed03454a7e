/* What a global function may not assume. */
#include "ctx.h"

struct pair {
	u32 a, b;
};

u32 cells[4];

NOINLINE int unchecked_pointer(struct pair *p)
{
	return p->a;
}

NOINLINE int unchecked_index(u32 i)
{
	OPAQUE(i);
	return cells[i];
}

NOINLINE int checked(struct pair *p)
{
	return p ? p->a : 0;
}

SEC("tc")
int null_bad(struct __sk_buff *skb)
{
	struct pair p = { .a = skb->len };

	return unchecked_pointer(&p);
}

SEC("tc")
int range_bad(struct __sk_buff *skb)
{
	return unchecked_index(1);
}

SEC("tc")
int checked_ok(struct __sk_buff *skb)
{
	struct pair p = { .a = skb->len };

	return checked(&p);
}
LICENSE("GPL");
