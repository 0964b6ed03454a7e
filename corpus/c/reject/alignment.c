/* Misaligned stack access; packets may be read misaligned. */
#include "ctx.h"

SEC("tc")
__attribute__((naked)) int stack_bad(void)
{
	asm volatile("r0 = 0; *(u64 *)(r10 - 12) = r0; exit");
}

SEC("tc")
__attribute__((naked)) int context_bad(void)
{
	asm volatile("r0 = *(u32 *)(r1 + 2); exit");
}

SEC("tc")
__attribute__((naked)) int packet_ok(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 76);"
		     "r3 = *(u32 *)(r1 + 80);"
		     "r4 = r2;"
		     "r4 += 9;"
		     "r0 = 0;"
		     "if r4 > r3 goto +1;"
		     "r0 = *(u64 *)(r2 + 1);"
		     "exit");
}
LICENSE("GPL");
