/* Sizes and offsets as constants. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"

u32 size, offset, width;

SEC("kprobe/do_exit")
int measure(struct pt_regs *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();

	size = CORE_TYPE_EXISTS(struct nsproxy) ? CORE_TYPE_SIZE(struct nsproxy) : 0;
	offset = CORE_FIELD_OFFSET(t->comm);
	width = CORE_FIELD_SIZE(t->comm);
	return 0;
}
LICENSE("GPL");
