/* Instruction pointers of samples, with the event's own fields. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct where {
	u64 ip, period;
	u32 pid, cpu;
};
DEFINE_MAP(hot, MAP_LRU_HASH, u64, u64, 8192);
DEFINE_RINGBUF(samples, 1 << 14);

SEC("perf_event")
int sample(struct bpf_perf_event_data *ctx)
{
	struct where w = { .ip = ctx->regs.rip, .period = ctx->sample_period };
	u64 one = 1, *n = bpf_map_lookup_elem(&hot, &w.ip);

	w.pid = bpf_get_current_pid_tgid() >> 32;
	w.cpu = bpf_get_smp_processor_id();
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&hot, &w.ip, &one, UPDATE_ANY);
	bpf_ringbuf_output(&samples, &w, sizeof(w), 0);
	return 0;
}
LICENSE("GPL");
