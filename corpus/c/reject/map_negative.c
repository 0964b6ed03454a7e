/* A signed index without a lower bound. */
#include "ctx.h"

u32 table[8];

SEC("tc")
int negative_bad(struct __sk_buff *skb)
{
	s64 i = (s64)skb->tstamp;

	if (i > 7)
		return 0;
	OPAQUE(i);
	return table[i];
}

SEC("tc")
int both_bounds_ok(struct __sk_buff *skb)
{
	s64 i = (s64)skb->tstamp;

	OPAQUE(i);
	if (i > 7 || i < 0)
		return 0;
	return table[i];
}
LICENSE("GPL");
