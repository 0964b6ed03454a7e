/* Classic packet loads need the context in R6 and clobber R1 to R5. */
#include "base.h"

SEC("socket")
__attribute__((naked)) int no_context_bad(void)
{
	asm volatile("r0 = *(u8 *)skb[0]; exit");
}

SEC("socket")
__attribute__((naked)) int clobbered_bad(void)
{
	asm volatile("r6 = r1; r2 = 1; r0 = *(u8 *)skb[0]; r0 += r2; exit");
}

SEC("xdp")
__attribute__((naked)) int wrong_type_bad(void)
{
	asm volatile("r6 = r1; r0 = *(u8 *)skb[0]; exit");
}

SEC("socket")
__attribute__((naked)) int with_context_ok(void)
{
	asm volatile("r6 = r1; r0 = *(u8 *)skb[0]; exit");
}
LICENSE("GPL");
