/* A string read of variable length into a ring buffer record. */
#include "ctx.h"
#include "helpers.h"
#include "kernel.h"
#include "maps.h"

struct opened {
	u32 pid, len;
	char name[128];
};
DEFINE_RINGBUF(files, 1 << 16);

SEC("kprobe/vfs_open")
int open(struct pt_regs *ctx)
{
	struct path *path = (struct path *)ARG1(ctx);
	struct dentry *d = CORE_READ(path->dentry);
	struct opened *o = bpf_ringbuf_reserve(&files, sizeof(*o), 0);
	long n;

	if (!o)
		return 0;
	o->pid = bpf_get_current_pid_tgid() >> 32;
	n = bpf_probe_read_kernel_str(o->name, sizeof(o->name), CORE_READ(d->d_name.name));
	if (n <= 0) {
		bpf_ringbuf_discard(o, 0);
		return 0;
	}
	o->len = n;
	bpf_ringbuf_submit(o, 0);
	return 0;
}
LICENSE("GPL");
