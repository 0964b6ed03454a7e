/* bpf_snprintf with a constant format in read-only data. */
#include "ctx.h"
#include "helpers.h"

char out[64];

SEC("kprobe/do_exit")
int format(struct pt_regs *ctx)
{
	static const char fmt[] = "pid %d uid %u code %llx";
	u64 args[3];

	args[0] = bpf_get_current_pid_tgid() >> 32;
	args[1] = bpf_get_current_uid_gid() & 0xffffffff;
	args[2] = ARG1(ctx);
	bpf_snprintf(out, sizeof(out), fmt, args, sizeof(args));
	return 0;
}
LICENSE("GPL");
