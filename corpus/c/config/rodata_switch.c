/* Constants set before loading: the verifier knows them, so one arm is dead. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

const volatile u32 mode = 2;
const volatile u8 table[4] = { 1, 2, 3, 4 };
u64 out;

SEC("tc")
int configured(struct __sk_buff *skb)
{
	if (mode == 1)
		out = skb->len;
	else if (mode == 2)
		out = table[3];
	else
		return *(volatile int *)0;
	return TC_OK;
}
LICENSE("GPL");
