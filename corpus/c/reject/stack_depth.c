/* More than 512 bytes over a chain of calls. */
#include "ctx.h"

static NOINLINE int deep_inner(int x)
{
	volatile u8 buf[300];

	buf[x & 255] = x;
	return buf[(x + 1) & 255];
}

SEC("tc")
int together_bad(struct __sk_buff *skb)
{
	volatile u8 buf[300];

	for (u32 i = 0; i < sizeof(buf); i++)
		buf[i] = i;
	return deep_inner(buf[skb->len & 255]);
}

static NOINLINE int flat_inner(int x)
{
	volatile u64 v = x;

	return v + 1;
}

SEC("tc")
int apart_ok(struct __sk_buff *skb)
{
	volatile u8 buf[256];

	for (u32 i = 0; i < sizeof(buf); i++)
		buf[i] = i;
	return flat_inner(buf[skb->len & 255]);
}
LICENSE("GPL");
