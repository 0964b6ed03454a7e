/* A GPL-only helper under another licence. */
#include "ctx.h"
#include "helpers.h"

u64 word;

SEC("kprobe/do_exit")
int gpl_helper_bad(struct pt_regs *ctx)
{
	return bpf_probe_read_kernel(&word, sizeof(word), (void *)ARG1(ctx));
}
LICENSE("Proprietary");
