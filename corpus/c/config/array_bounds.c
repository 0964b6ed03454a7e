/* Variable index into global arrays, clamped in three ways. */
#include "ctx.h"

u32 table[100];
u32 masked[64];

SEC("tc")
int index_forms(struct __sk_buff *skb)
{
	u32 i = skb->mark, j = skb->priority & 63, k = skb->len;

	if (i < ARRAY_LEN(table))
		table[i]++;
	masked[j] = k;
	k %= ARRAY_LEN(table);
	OPAQUE(k);
	if (k >= ARRAY_LEN(table))
		return TC_SHOT;
	table[k] += 2;
	return TC_OK;
}
LICENSE("GPL");
