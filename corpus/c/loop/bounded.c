/* A loop the verifier walks: the counter is a constant in every iteration. */
#include "ctx.h"

u64 squares;

SEC("tc")
int bounded(struct __sk_buff *skb)
{
	u64 s = 0;

#pragma clang loop unroll(disable) vectorize(disable)
	for (u32 i = 0; i < 40; i++) {
		u32 k = i;

		OPAQUE(k);
		s += k * i;
	}
	squares = s;
	return TC_OK;
}
LICENSE("GPL");
