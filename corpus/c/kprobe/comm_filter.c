/* Compares the task's name with a configured one. */
#include "ctx.h"
#include "helpers.h"

const volatile char wanted[16] = "sshd";
u64 hits;

SEC("kprobe/__x64_sys_execve")
int exec(struct pt_regs *ctx)
{
	char comm[16];

	if (bpf_get_current_comm(comm, sizeof(comm)))
		return 0;
	for (int i = 0; i < 16; i++) {
		if (comm[i] != wanted[i])
			return 0;
		if (!comm[i])
			break;
	}
	hits++;
	return 0;
}
LICENSE("GPL");
