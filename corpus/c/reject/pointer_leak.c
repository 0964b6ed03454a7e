/* Arithmetic the verifier forbids on pointers. */
#include "ctx.h"

SEC("tc")
__attribute__((naked)) int multiply_bad(void)
{
	asm volatile("r1 *= 2; r0 = 0; exit");
}

SEC("tc")
__attribute__((naked)) int short_add_bad(void)
{
	asm volatile("w1 += 1; r0 = *(u32 *)(r1 + 0); exit");
}

SEC("tc")
__attribute__((naked)) int two_pointers_bad(void)
{
	asm volatile("r1 += r10; r0 = 0; exit");
}

SEC("tc")
__attribute__((naked)) int too_far_bad(void)
{
	asm volatile("r2 = r10; r2 += 0x40000000; r0 = *(u8 *)(r2 + 0); exit");
}

SEC("tc")
__attribute__((naked)) int small_step_ok(void)
{
	asm volatile("r1 += 4; r1 += -4; r0 = *(u32 *)(r1 + 0); exit");
}
LICENSE("GPL");
