/* Follows kernel pointers with offsets from the kernel's BTF. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"
#include "maps.h"

struct event {
	u32 saddr, daddr;
	u16 dport, family;
	u32 pid;
};
DEFINE_FD_ARRAY(events, MAP_PERF_EVENT_ARRAY, 0);

SEC("kprobe/tcp_v4_connect")
int connect(struct pt_regs *ctx)
{
	struct sock *sk = (struct sock *)ARG1(ctx);
	struct event e = {};

	e.pid = bpf_get_current_pid_tgid() >> 32;
	e.saddr = CORE_READ(sk->__sk_common.skc_rcv_saddr);
	e.daddr = CORE_READ(sk->__sk_common.skc_daddr);
	e.dport = CORE_READ(sk->__sk_common.skc_dport);
	e.family = CORE_READ(sk->__sk_common.skc_family);
	bpf_perf_event_output(ctx, &events, F_CURRENT_CPU, &e, sizeof(e));
	return 0;
}
LICENSE("GPL");
