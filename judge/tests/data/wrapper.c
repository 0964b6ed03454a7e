/* What libbpf's probe finds: no wrapper where there are no kprobes. */
#include "base.h"
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __attribute__((section(".kconfig")));

SEC("raw_tp")
int dead_without_kprobes(u64 *ctx)
{
	if (!LINUX_HAS_SYSCALL_WRAPPER)
		asm volatile("r0 = r9; exit");
	return 0;
}
LICENSE("GPL");
