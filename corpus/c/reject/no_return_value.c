/* Leaving without having set R0. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int unset_bad(void)
{
	asm volatile("exit");
}

SEC("tc")
__attribute__((naked)) int one_path_bad(void)
{
	asm volatile("r1 = *(u32 *)(r1 + 0);"
		     "if r1 > 100 goto 1f;"
		     "r0 = 0;"
		     "1: exit");
}

SEC("tc")
__attribute__((naked)) int unwritten_stack_ok(void)
{
	asm volatile("r6 = r10; r0 = *(u64 *)(r10 - 8); exit");
}

SEC("tc")
__attribute__((naked)) int set_ok(void)
{
	asm volatile("r0 = 0; exit");
}
LICENSE("GPL");
