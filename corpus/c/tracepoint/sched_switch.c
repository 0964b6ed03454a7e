/* Time on CPU per task. */
#include "helpers.h"
#include "maps.h"

struct sched_switch {
	u64 common;
	char prev_comm[16];
	s32 prev_pid, prev_prio;
	s64 prev_state;
	char next_comm[16];
	s32 next_pid, next_prio;
};
DEFINE_MAP(since, MAP_PERCPU_ARRAY, u32, u64, 1);
DEFINE_MAP(used, MAP_HASH, u32, u64, 8192);

SEC("tp/sched/sched_switch")
int switched(struct sched_switch *ctx)
{
	u32 zero = 0, pid = ctx->prev_pid;
	u64 now = bpf_ktime_get_ns(), *last = bpf_map_lookup_elem(&since, &zero), delta, *sum;

	if (!last)
		return 0;
	delta = now - *last;
	*last = now;
	if (!pid)
		return 0;
	sum = bpf_map_lookup_elem(&used, &pid);
	if (sum)
		*sum += delta;
	else
		bpf_map_update_elem(&used, &pid, &delta, UPDATE_NOEXIST);
	return 0;
}
LICENSE("GPL");
