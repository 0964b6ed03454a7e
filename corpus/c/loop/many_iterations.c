/* Five hundred iterations, well inside the instruction budget. */
#include "ctx.h"

u64 acc;

SEC("tc")
int many(struct __sk_buff *skb)
{
	u64 a = skb->len;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 500; i++) {
		a = a * 31 + i;
		OPAQUE(a);
	}
	acc = a;
	return TC_OK;
}
LICENSE("GPL");
