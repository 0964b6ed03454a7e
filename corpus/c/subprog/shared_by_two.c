/* Two programs of one object use the same function; each gets its own copy. */
#include "ctx.h"

static NOINLINE u32 fold(u32 x)
{
	x ^= x >> 16;
	x ^= x >> 8;
	return x & 0xff;
}

SEC("tc")
int by_mark(struct __sk_buff *skb)
{
	return fold(skb->mark) > 127 ? TC_SHOT : TC_OK;
}

SEC("xdp")
int by_queue(struct xdp_md *ctx)
{
	return fold(ctx->rx_queue_index) > 127 ? XDP_DROP : XDP_PASS;
}
LICENSE("GPL");
