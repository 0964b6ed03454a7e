/* Entry and return with a start time in between. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(started, MAP_HASH, u64, u64, 4096);
u64 slots[32];

SEC("kprobe/vfs_read")
int entry(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();

	bpf_map_update_elem(&started, &id, &now, UPDATE_ANY);
	return 0;
}

SEC("kretprobe/vfs_read")
int done(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), *t = bpf_map_lookup_elem(&started, &id), took;
	u32 slot = 0;

	if (!t)
		return 0;
	took = (bpf_ktime_get_ns() - *t) >> 10;
	bpf_map_delete_elem(&started, &id);
#pragma unroll
	for (int i = 0; i < 16; i++)
		if (took >> i)
			slot = i;
	slots[slot & 31]++;
	return 0;
}
LICENSE("GPL");
