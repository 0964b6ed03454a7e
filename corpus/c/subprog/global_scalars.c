/* A global function is verified alone: its argument is any number, its result any number. */
#include "ctx.h"

u32 table[16];

NOINLINE int lookup(u32 i)
{
	if (i >= ARRAY_LEN(table))
		return -1;
	return table[i];
}

SEC("tc")
int global_call(struct __sk_buff *skb)
{
	int v = lookup(skb->mark);

	return v < 0 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
