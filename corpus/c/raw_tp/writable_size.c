/* Reads the last context word a raw tracepoint may have. */
#include "ctx.h"

u64 last;

SEC("raw_tp/whatever")
int last_arg(struct bpf_raw_tracepoint_args *ctx)
{
	last = ctx->args[11];
	return 0;
}
LICENSE("GPL");
