/* Drops packets whose first LIMIT bytes add up to nothing. */
#include "bpf.h"

#define LIMIT 64

SEC("xdp")
int scan(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 sum = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < LIMIT; i++) {
		if (data + i + 1 > end)
			break;
		sum += data[i];
	}
	return sum ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
