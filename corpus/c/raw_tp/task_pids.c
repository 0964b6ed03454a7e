/* CO-RE reads through an argument of unknown type. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"

u64 forks_of_init;

SEC("raw_tp/sched_process_fork")
int forked(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx->args[0];

	if (CORE_READ(parent->tgid) == 1)
		forks_of_init++;
	return 0;
}
LICENSE("GPL");
