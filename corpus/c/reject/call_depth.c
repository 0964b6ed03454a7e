/* Nine frames, where eight is the limit; and recursion. */
#include "ctx.h"

static NOINLINE int f8(int x)
{
	OPAQUE(x);
	return x;
}
#define LEVEL(me, next)                                                                            \
	static NOINLINE int me(int x)                                                              \
	{                                                                                          \
		OPAQUE(x);                                                                         \
		x = next(x + 1);                                                                   \
		OPAQUE(x);                                                                         \
		return x;                                                                          \
	}
LEVEL(f7, f8)
LEVEL(f6, f7)
LEVEL(f5, f6)
LEVEL(f4, f5)
LEVEL(f3, f4)
LEVEL(f2, f3)
LEVEL(f1, f2)

SEC("tc")
int nine_frames_bad(struct __sk_buff *skb)
{
	return f1(skb->len);
}

SEC("tc")
int eight_frames_ok(struct __sk_buff *skb)
{
	return f2(skb->len);
}

static NOINLINE int again(int x)
{
	OPAQUE(x);
	if (x > 10)
		return x;
	x = again(x + 1);
	OPAQUE(x);
	return x;
}

SEC("tc")
int recursion_bad(struct __sk_buff *skb)
{
	return again(skb->len);
}
LICENSE("GPL");
