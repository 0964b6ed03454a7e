/* A loop the compiler removed. */
#include "ctx.h"

u32 sum;

SEC("tc")
int unrolled(struct __sk_buff *skb)
{
	u32 s = 0;

#pragma unroll
	for (int i = 0; i < 5; i++)
		s += skb->cb[i];
	sum = s;
	return TC_OK;
}
LICENSE("GPL");
