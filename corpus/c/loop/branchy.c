/* A branch in every iteration: pruning keeps the paths from doubling. */
#include "ctx.h"

SEC("tc")
int branchy(struct __sk_buff *skb)
{
	u32 bits = skb->mark, seen = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++) {
		u32 b = bits & 1;

		OPAQUE(b);
		if (b)
			seen |= 2;
		else
			seen |= 1;
		bits >>= 1;
	}
	return seen == 3 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
