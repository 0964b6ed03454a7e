/* More iterations than the instruction budget allows. */
#include "ctx.h"

u64 acc;

SEC("tc")
int half_a_million_bad(struct __sk_buff *skb)
{
	u64 a = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 500000; i++) {
		a += i;
		OPAQUE(a);
	}
	acc = a;
	return TC_OK;
}

SEC("tc")
int a_thousand_ok(struct __sk_buff *skb)
{
	u64 a = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 1000; i++) {
		a += i;
		OPAQUE(a);
	}
	acc = a;
	return TC_OK;
}
LICENSE("GPL");
