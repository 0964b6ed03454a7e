/* Reads a user string into a per-CPU scratch value because the stack is too small. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct scratch {
	u32 len;
	char text[1024];
};
DEFINE_MAP(scratch, MAP_PERCPU_ARRAY, u32, struct scratch, 1);
DEFINE_FD_ARRAY(out, MAP_PERF_EVENT_ARRAY, 0);

SEC("kprobe/do_sys_openat2")
int name(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	long n;

	if (!s)
		return 0;
	n = bpf_probe_read_user_str(s->text, sizeof(s->text), (void *)ARG2(ctx));
	if (n < 0)
		return 0;
	s->len = n;
	bpf_perf_event_output(ctx, &out, F_CURRENT_CPU, s, sizeof(s->len) + (n & 1023));
	return 0;
}
LICENSE("GPL");
