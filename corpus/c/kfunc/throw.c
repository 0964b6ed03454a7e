/* Exceptions: thrown through frames, caught by the program's own handler or by none; never from a callback. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

int thrown;

static long step(u32 i, void *ctx)
{
	if (i == 5)
		bpf_throw(i);
	return 0;
}

static NOINLINE int deeper(struct __sk_buff *skb)
{
	if (skb->len > 100)
		bpf_throw(skb->len);
	return skb->len;
}

/* The verifier wants it global. */
__attribute__((noinline)) int handler(u64 cookie)
{
	thrown++;
	return cookie == 5 ? 55 : 77;
}

SEC("tc")
TAG("exception_callback:handler")
int caught(struct __sk_buff *skb)
{
	int n = deeper(skb);

	if (n & 1)
		bpf_throw(5);
	return n;
}

SEC("tc")
int from_callback_bad(struct __sk_buff *skb)
{
	bpf_loop(10, step, 0, 0);
	return TC_OK;
}

SEC("tc")
int uncaught(struct __sk_buff *skb)
{
	deeper(skb);
	if (skb->protocol == HTONS(0x0806))
		bpf_throw(9);
	return 3;
}
LICENSE("GPL");
