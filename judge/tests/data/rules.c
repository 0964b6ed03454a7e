/* Programs whose verdict hangs on a row of a table: who may call what, a context's field, a tracepoint's arguments, a list
 * of hooks, a column of a program type. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	int (*type)[15]; /* sockmap */
	int (*max_entries)[4];
	u32 *key;
	u64 *value;
} socks MAP;

SEC("tp_btf/signal_deliver") int follows_siginfo(u64 *ctx)
{
	int *info = (int *)ctx[1];

	return *info;
}
SEC("tp_btf/sched_process_wait") int follows_pid(u64 *ctx)
{
	int *pid = (int *)ctx[0];

	return *pid;
}
SEC("xdp") int forgets_socket(struct xdp_md *ctx)
{
	u32 key = 0;

	return bpf_map_delete_elem(&socks, &key) ? 1 : 2;
}
SEC("tc") int asks_for_its_task(struct __sk_buff *skb)
{
	return bpf_get_current_pid_tgid() == 0;
}
SEC("tc") int reads_tstamp_type(struct __sk_buff *skb)
{
	return skb->tstamp_type;
}
SEC("lsm.s/path_chmod") int sleeps_in_chmod(u64 *ctx)
{
	return 0;
}
SEC("lsm/xfrm_decode_session") int decodes(u64 *ctx)
{
	return 0;
}
SEC("lsm/inode_setxattr") int reads_value(u64 *ctx)
{
	return ctx[3] ? 0 : -1;
}

LICENSE("GPL");
