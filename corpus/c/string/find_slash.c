/* Last slash of a path in a map value: a loop with a running index. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct path_buf {
	char text[256];
};
DEFINE_MAP(bufs, MAP_PERCPU_ARRAY, u32, struct path_buf, 1);
u32 last_slash;

SEC("kprobe/do_sys_openat2")
int basename_at(struct pt_regs *ctx)
{
	u32 zero = 0, at = 0;
	struct path_buf *b = bpf_map_lookup_elem(&bufs, &zero);
	long n;

	if (!b)
		return 0;
	n = bpf_probe_read_user_str(b->text, sizeof(b->text), (void *)ARG2(ctx));
	if (n <= 0 || n > (long)sizeof(b->text))
		return 0;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < sizeof(b->text); i++) {
		if (i >= n)
			break;
		if (b->text[i] == '/')
			at = i;
	}
	last_slash = at;
	return 0;
}
LICENSE("GPL");
