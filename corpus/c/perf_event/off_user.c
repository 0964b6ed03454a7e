/* Kernel and user stacks of a sample. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_STACK_TRACE);
	NUM(key_size, 4);
	NUM(value_size, 127 * 8);
	NUM(max_entries, 256);
} stacks MAP;
struct pair {
	s32 kernel, user;
};
DEFINE_MAP(pairs, MAP_HASH, struct pair, u64, 1024);

SEC("perf_event")
int profile(struct bpf_perf_event_data *ctx)
{
	struct pair p;
	u64 one = 1, *n;

	p.kernel = bpf_get_stackid(ctx, &stacks, 0);
	p.user = bpf_get_stackid(ctx, &stacks, F_USER_STACK);
	n = bpf_map_lookup_elem(&pairs, &p);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&pairs, &p, &one, UPDATE_NOEXIST);
	return 0;
}
LICENSE("GPL");
