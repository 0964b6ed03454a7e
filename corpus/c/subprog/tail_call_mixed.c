/* A tail call from a function: the caller's stack is limited to 256 bytes. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(progs, MAP_PROG_ARRAY, 2);

static NOINLINE int try_next(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &progs, 0);
	return 1;
}

SEC("tc")
int mixed(struct __sk_buff *skb)
{
	volatile u64 pad[8] = {};

	pad[skb->len & 7] = 1;
	return try_next(skb) + pad[0] > 1 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
