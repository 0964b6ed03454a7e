/* Atomics on the context, and at a bad alignment. */
#include "ctx.h"

SEC("tc")
int context_bad(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&skb->mark, 1);
	return TC_OK;
}

SEC("tc")
__attribute__((naked)) int unwritten_stack_ok(void)
{
	asm volatile("r2 = 1; lock *(u64 *)(r10 - 8) += r2; r0 = 0; exit");
}

SEC("tc")
__attribute__((naked)) int stack_ok(void)
{
	asm volatile("r2 = 1; *(u64 *)(r10 - 8) = r2; lock *(u64 *)(r10 - 8) += r2; r0 = 0; exit");
}
LICENSE("GPL");
