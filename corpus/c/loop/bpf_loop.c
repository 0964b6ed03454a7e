/* bpf_loop with a callback and its context on the stack. */
#include "ctx.h"
#include "helpers.h"

struct state {
	u64 sum;
	u32 limit;
};

static long step(u32 i, struct state *s)
{
	s->sum += i;
	return i > s->limit;
}

SEC("tc")
int looped(struct __sk_buff *skb)
{
	struct state s = { .limit = 1000 };

	bpf_loop(1 << 20, step, &s, 0);
	return s.sum > 2000 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
