/* Number to text on the stack, written backwards at variable offsets. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_RINGBUF(lines, 4096);

SEC("kprobe/do_exit")
int pid_text(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	char text[16] = {};
	u32 at = 15;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++) {
		at--;
		text[at & 15] = '0' + pid % 10;
		pid /= 10;
		if (!pid)
			break;
	}
	bpf_ringbuf_output(&lines, text, sizeof(text), 0);
	return 0;
}
LICENSE("GPL");
