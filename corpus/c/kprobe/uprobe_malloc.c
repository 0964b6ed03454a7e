/* User-space probes share the type. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(asked, MAP_LRU_PERCPU_HASH, u32, u64, 1024);

SEC("uprobe")
int malloc_enter(struct pt_regs *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u64 size = ARG1(ctx);

	bpf_map_update_elem(&asked, &tid, &size, UPDATE_ANY);
	return 0;
}

SEC("uretprobe")
int malloc_exit(struct pt_regs *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u64 *size = bpf_map_lookup_elem(&asked, &tid);

	if (size && !RETVAL(ctx))
		PRINTK("malloc(%llu) failed", *size);
	return 0;
}
LICENSE("GPL");
