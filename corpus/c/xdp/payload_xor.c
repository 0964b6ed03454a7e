/* Touches every payload byte up to a limit, each with its own bounds check. */
#include "ctx.h"
#include "net.h"

SEC("xdp")
int scramble(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx);
	u8 *p = PKT(ctx) + 42;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 16; i++) {
		if ((void *)(p + i + 1) > end)
			break;
		p[i] ^= 0x5a;
	}
	return XDP_PASS;
}
LICENSE("GPL");
