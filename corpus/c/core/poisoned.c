/* A relocation that fails: harmless where never executed, rejected where it is. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"

struct task_struct___gone {
	int gone_field;
} CORE;

const volatile int enabled = 0;
int value;

SEC("kprobe/do_exit")
int guarded(struct pt_regs *ctx)
{
	struct task_struct___gone *t = (void *)bpf_get_current_task();

	if (enabled)
		value = CORE_READ(t->gone_field);
	return 0;
}

SEC("kprobe/do_exit")
int reached_bad(struct pt_regs *ctx)
{
	struct task_struct___gone *t = (void *)bpf_get_current_task();

	value = CORE_READ(t->gone_field);
	return 0;
}
LICENSE("GPL");
