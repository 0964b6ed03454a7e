/* The same program under a compatible licence. */
#include "ctx.h"
#include "helpers.h"

u64 word;

SEC("kprobe/do_exit")
int gpl_helper_ok(struct pt_regs *ctx)
{
	return bpf_probe_read_kernel(&word, sizeof(word), (void *)ARG1(ctx));
}
LICENSE("Dual BSD/GPL");
