/* A tracepoint's own record as context. */
#include "helpers.h"
#include "maps.h"

struct enter_openat {
	u64 common;
	long nr, dfd;
	const char *filename;
	long flags, mode;
};
struct event {
	u32 pid;
	s32 flags;
	char comm[16];
	char name[64];
};
DEFINE_RINGBUF(events, 1 << 15);

SEC("tracepoint/syscalls/sys_enter_openat")
int openat(struct enter_openat *ctx)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 0;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->flags = ctx->flags;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_user_str(e->name, sizeof(e->name), ctx->filename);
	bpf_ringbuf_submit(e, 0);
	return 0;
}
LICENSE("GPL");
