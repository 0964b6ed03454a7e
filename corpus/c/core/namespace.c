/* Nested structures inside pointers. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"
#include "maps.h"

DEFINE_MAP(per_ns, MAP_HASH, u32, u64, 64);

SEC("kprobe/do_exit")
int count_ns(struct pt_regs *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct nsproxy *proxy = CORE_READ(t->nsproxy);
	struct pid_namespace *ns = CORE_READ(proxy->pid_ns_for_children);
	u32 inum = CORE_READ(ns->ns.inum);
	u64 one = 1, *n = bpf_map_lookup_elem(&per_ns, &inum);

	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&per_ns, &inum, &one, UPDATE_NOEXIST);
	return 0;
}
LICENSE("GPL");
