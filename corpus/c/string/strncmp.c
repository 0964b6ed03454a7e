/* bpf_strncmp with a string in read-only data. */
#include "ctx.h"
#include "helpers.h"

const char target[] = "systemd";
u32 exits;

SEC("kprobe/do_exit")
int is_systemd(struct pt_regs *ctx)
{
	char comm[16] = {};

	bpf_get_current_comm(comm, sizeof(comm));
	if (!bpf_strncmp(comm, sizeof(comm), target))
		exits++;
	return 0;
}
LICENSE("GPL");
