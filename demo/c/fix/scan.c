/* Drops packets whose first LIMIT bytes add up to nothing. */
#include "bpf.h"

#define LIMIT 1500

struct total {
	struct xdp_md *ctx;
	u32 sum;
};

/* One byte; verified once, however many there are. */
static long look(u32 i, struct total *t)
{
	u8 byte;

	if (bpf_xdp_load_bytes(t->ctx, i, &byte, 1))
		return 1;
	t->sum += byte;
	return 0;
}

SEC("xdp")
int scan(struct xdp_md *ctx)
{
	struct total t = { .ctx = ctx };

	bpf_loop(LIMIT, look, &t, 0);
	return t.sum ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
