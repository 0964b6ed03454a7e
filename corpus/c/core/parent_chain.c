/* Several pointers deep. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"

u32 grandparent;

SEC("kprobe/do_exit")
int grandparent_of(struct pt_regs *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct task_struct *p = CORE_READ(t->real_parent);

	p = CORE_READ(p->real_parent);
	grandparent = CORE_READ(p->tgid);
	return 0;
}
LICENSE("GPL");
