/* A helper number no kernel has. */
#include "ctx.h"

static long (*const unknown_helper)(void) = (void *)4242;

SEC("tc")
int unknown_number_bad(struct __sk_buff *skb)
{
	return unknown_helper();
}

SEC("tc")
int no_call_ok(struct __sk_buff *skb)
{
	return TC_OK;
}
LICENSE("GPL");
