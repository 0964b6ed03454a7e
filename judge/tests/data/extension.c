/* Programs that replace a function of another program, or trace it. */
#include "ctx.h"
#include "helpers.h"

SEC("freplace")
int same(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	return data + 14 > end ? 1 : 2;
}

SEC("freplace")
int moves_too(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4);
}

SEC("freplace")
int two(struct xdp_md *ctx, int n)
{
	return n + 1;
}

SEC("freplace")
long longer(struct xdp_md *ctx, long n)
{
	return n + 1;
}

SEC("freplace")
int of_skb(struct __sk_buff *ctx)
{
	return ctx->len ? 0 : 1;
}

SEC("freplace")
int pointer(struct xdp_md *ctx, int *n)
{
	return n ? *n : 0;
}

SEC("freplace")
int beyond(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data;

	return *data;
}

/* Of a kind that its target may call, and one it may not. */
SEC("freplace")
int with_packet_helper(struct __sk_buff *ctx)
{
	return bpf_skb_pull_data(ctx, 1);
}

SEC("fentry")
int enters(u64 *ctx)
{
	volatile u64 first = ctx[0];

	return 0;
}

SEC("fexit")
int leaves(u64 *ctx)
{
	volatile u64 result = ctx[1];

	return 0;
}

SEC("fexit")
int leaves_too_far(u64 *ctx)
{
	volatile u64 fifth = ctx[4];

	return 0;
}

/* The context that the target is given, as the kernel has it. */
SEC("fentry")
int looks_inside(u64 *ctx)
{
	struct xdp_buff {
		void *data;
	} *buff = (void *)ctx[0];
	volatile u64 data = (u64)(long)buff->data;

	return 0;
}

SEC("fmod_ret")
int changes(u64 *ctx)
{
	return 0;
}

LICENSE("GPL");
