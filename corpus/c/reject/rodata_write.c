/* Writing a frozen section. */
#include "ctx.h"

const volatile u32 fixed = 1;
u32 changing = 1;

SEC("tc")
int write_constant_bad(struct __sk_buff *skb)
{
	*(volatile u32 *)&fixed = skb->len;
	return TC_OK;
}

SEC("tc")
int write_variable_ok(struct __sk_buff *skb)
{
	changing = skb->len;
	return TC_OK;
}
LICENSE("GPL");
