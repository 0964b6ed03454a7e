/* Sends the packet head with a small struct through the perf buffer. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(events, MAP_PERF_EVENT_ARRAY, 0);

struct head {
	u32 len, mark;
	u64 cookie;
};

SEC("tc")
int report(struct __sk_buff *skb)
{
	struct head h = { .len = skb->len, .mark = skb->mark, .cookie = bpf_get_socket_cookie(skb) };
	u64 take = skb->len < 64 ? skb->len : 64;

	bpf_perf_event_output(skb, &events, take << 32 | F_CURRENT_CPU, &h, sizeof(h));
	return TC_OK;
}
LICENSE("GPL");
