/* Raw tracepoint arguments are plain numbers. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(calls, MAP_PERCPU_ARRAY, u32, u64, 512);

SEC("raw_tracepoint/sys_enter")
int sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
	u32 nr = ctx->args[1];
	u64 *n;

	if (nr >= 512)
		return 0;
	n = bpf_map_lookup_elem(&calls, &nr);
	if (n)
		++*n;
	return 0;
}
LICENSE("GPL");
