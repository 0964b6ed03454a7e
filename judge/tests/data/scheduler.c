/* A scheduler: what its operations may call changed when the kernel began to look at it while it verifies. */
#include "base.h"
#include "maps.h"

struct task_struct {
	int pid;
};
void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __attribute__((section(".ksyms")));
int scx_bpf_create_dsq(u64 dsq_id, int node) __attribute__((section(".ksyms")));
void scx_bpf_kick_cpu(int cpu, u64 flags) __attribute__((section(".ksyms")));

#define OP(name) SEC("struct_ops/" #name)
#define SLEEPS(name) SEC("struct_ops.s/" #name)

OP(enqueue) int inserts(u64 *ctx)
{
	scx_bpf_dsq_insert((void *)ctx[0], 7, 20000000, ctx[1]);
	return 0;
}
OP(running) int inserts_while_running(u64 *ctx)
{
	scx_bpf_dsq_insert((void *)ctx[0], 7, 20000000, 0);
	return 0;
}
OP(stopping) int kicks(u64 *ctx)
{
	scx_bpf_kick_cpu(0, 0);
	return 0;
}
SLEEPS(init) int creates(u64 *ctx)
{
	return scx_bpf_create_dsq(7, -1);
}
SLEEPS(enable) int enables_and_sleeps(u64 *ctx)
{
	return 0;
}

struct sched_ext_ops {
	int (*enqueue)(u64 *), (*running)(u64 *), (*stopping)(u64 *), (*init)(u64 *), (*enable)(u64 *);
	char name[128];
};
SEC(".struct_ops.link") struct sched_ext_ops scheduler = {
	.enqueue = inserts,
	.running = inserts_while_running,
	.stopping = kicks,
	.init = creates,
	.enable = enables_and_sleeps,
	.name = "test",
};
LICENSE("GPL");
