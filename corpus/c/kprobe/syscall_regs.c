/* A syscall wrapper: registers behind a pointer in the first argument. */
#include "ctx.h"
#include "helpers.h"

u32 last_flags;

SEC("ksyscall/unlinkat")
int unlinkat(struct pt_regs *ctx)
{
	struct pt_regs *inner = (struct pt_regs *)ARG1(ctx);
	u64 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), &inner->rdx);
	last_flags = flags;
	return 0;
}
LICENSE("GPL");
