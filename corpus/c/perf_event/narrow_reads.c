/* Narrow loads of a wide context field. */
#include "ctx.h"

u32 low;
u16 lower;

SEC("perf_event")
int narrow(struct bpf_perf_event_data *ctx)
{
	low = *(u32 *)&ctx->sample_period;
	lower = *(volatile u16 *)&ctx->addr;
	return 0;
}
LICENSE("GPL");
