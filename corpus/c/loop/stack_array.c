/* Writes an array on the stack through a variable index, reads it back. */
#include "ctx.h"

SEC("tc")
int bubble(struct __sk_buff *skb)
{
	u32 a[5];

	for (int i = 0; i < 5; i++)
		a[i] = skb->cb[i];
#pragma clang loop unroll(disable)
	for (int i = 0; i < 4; i++) {
#pragma clang loop unroll(disable)
		for (int j = 0; j < 4; j++) {
			if (a[j] > a[j + 1]) {
				u32 t = a[j];

				a[j] = a[j + 1];
				a[j + 1] = t;
			}
		}
	}
	return a[0] > a[4] ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
