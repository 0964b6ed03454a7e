/* A loop that never ends, and one that ends too late. */
#include "ctx.h"

u64 acc;

SEC("tc")
int forever_bad(struct __sk_buff *skb)
{
	for (;;)
		asm volatile("r0 = 0" ::: "r0");
	return TC_OK;
}

SEC("tc")
int until_even_bad(struct __sk_buff *skb)
{
	u32 x = skb->len;

	while (x & 1)
		OPAQUE(x);
	return TC_OK;
}

SEC("tc")
int ends_ok(struct __sk_buff *skb)
{
	u32 x = skb->len;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 8 && (x & 1); i++)
		OPAQUE(x);
	return TC_OK;
}
LICENSE("GPL");
