/* Initialised, zeroed and named data sections. */
#include "ctx.h"

u64 limit = 1500;
u64 seen;
u32 pair[2] SEC(".data.pair") = { 3, 4 };
static volatile u64 hidden_counter;

SEC("tc")
int sections(struct __sk_buff *skb)
{
	seen++;
	hidden_counter += pair[seen & 1];
	return skb->len > limit ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
