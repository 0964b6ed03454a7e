/* Register arguments of a kernel function. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(sizes, MAP_HASH, u32, u64, 1024);

SEC("kprobe/tcp_sendmsg")
int on_send(struct pt_regs *ctx)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;
	u64 size = ARG3(ctx), *sum = bpf_map_lookup_elem(&sizes, &tgid);

	if (sum)
		__sync_fetch_and_add(sum, size);
	else
		bpf_map_update_elem(&sizes, &tgid, &size, UPDATE_NOEXIST);
	return 0;
}
LICENSE("GPL");
