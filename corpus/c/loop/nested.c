/* Two counters. */
#include "ctx.h"

u32 grid[5][5];

SEC("tc")
int nested(struct __sk_buff *skb)
{
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 5; i++) {
#pragma clang loop unroll(disable)
		for (u32 j = 0; j < 5; j++) {
			u32 v = skb->len;

			OPAQUE(v);
			grid[i][j] += v;
		}
	}
	return TC_OK;
}
LICENSE("GPL");
