/* Takes one of two ways depending on what the kernel has; the other is dead code. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"

struct task_struct___old {
	int no_such_field_anywhere;
} CORE;

int found;

SEC("kprobe/do_exit")
int pick(struct pt_regs *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct task_struct___old *old = (void *)t;

	if (CORE_FIELD_EXISTS(old->no_such_field_anywhere))
		found = CORE_READ(old->no_such_field_anywhere);
	else if (CORE_FIELD_EXISTS(t->tgid))
		found = CORE_READ(t->tgid);
	else
		found = -1;
	return 0;
}
LICENSE("GPL");
