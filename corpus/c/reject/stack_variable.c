/* Variable stack offsets: reads need initialised bytes, helpers need bounds. */
#include "ctx.h"

SEC("tc")
__attribute__((naked)) int unbounded_bad(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "r3 = r10;"
		     "r3 -= r2;"
		     "r0 = 0;"
		     "*(u8 *)(r3 + 0) = r0;"
		     "exit");
}

SEC("tc")
__attribute__((naked)) int below_bad(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1023;"
		     "r3 = r10;"
		     "r3 += -512;"
		     "r3 += r2;"
		     "r0 = 0;"
		     "*(u8 *)(r3 + 0) = r0;"
		     "exit");
}

SEC("tc")
__attribute__((naked)) int inside_ok(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 7;"
		     "r3 = r10;"
		     "r3 += -8;"
		     "r3 += r2;"
		     "r0 = 0;"
		     "*(u8 *)(r3 + 0) = r0;"
		     "exit");
}
LICENSE("GPL");
