/* No licence section at all: fine without GPL-only helpers. */
#include "ctx.h"
#include "helpers.h"

SEC("xdp")
int free_ok(struct xdp_md *ctx)
{
	return bpf_ktime_get_ns() & 1 ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int prints_bad(struct xdp_md *ctx)
{
	PRINTK("hello");
	return XDP_PASS;
}
