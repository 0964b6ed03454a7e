/* Programs that others attach to: global and static functions, one that nobody calls, one that changes the packet. */
#include "ctx.h"
#include "helpers.h"

static const volatile int count;

NOINLINE int first(struct xdp_md *ctx)
{
	volatile int ret = 31;

	return ctx ? ret : 0;
}

NOINLINE int second(struct xdp_md *ctx, int n)
{
	volatile int ret = n;

	return ctx ? ret : 0;
}

NOINLINE int moves(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 0);
}

NOINLINE int never(struct xdp_md *ctx)
{
	volatile int ret = 2;

	return ctx ? ret : 0;
}

static NOINLINE int inner(struct xdp_md *ctx, int n)
{
	volatile int ret = n;

	return ctx ? ret + 1 : 0;
}

SEC("xdp")
int dispatcher(struct xdp_md *ctx)
{
	int ret = first(ctx) + second(ctx, 4) + moves(ctx) + inner(ctx, 5);

	if (count)
		ret += never(ctx);
	return ret ? 2 : 1;
}

SEC("tc")
int classifier(struct __sk_buff *skb)
{
	return skb->len ? 0 : 2;
}

LICENSE("GPL");
