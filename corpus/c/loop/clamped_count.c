/* The number of iterations comes from outside but is clamped. */
#include "ctx.h"

u8 bytes[16];
u32 total;

SEC("tc")
int clamped(struct __sk_buff *skb)
{
	u32 n = skb->mark, t = 0;

	if (n > ARRAY_LEN(bytes))
		n = ARRAY_LEN(bytes);
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < n && i < ARRAY_LEN(bytes); i++)
		t += bytes[i];
	total = t;
	return TC_OK;
}
LICENSE("GPL");
