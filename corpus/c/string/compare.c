/* Compares two buffers on the stack byte by byte. */
#include "ctx.h"
#include "helpers.h"

SEC("kprobe/do_exit")
int is_bash(struct pt_regs *ctx)
{
	char comm[16];
	static const char bash[] = "bash";
	int same = 1;

	bpf_get_current_comm(comm, sizeof(comm));
#pragma clang loop unroll(disable)
	for (int i = 0; i < (int)sizeof(bash); i++) {
		if (comm[i] != bash[i]) {
			same = 0;
			break;
		}
	}
	return !same;
}
LICENSE("GPL");
