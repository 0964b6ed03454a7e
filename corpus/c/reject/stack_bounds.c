/* One byte too low, above the frame, or too deep. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int below_bad(void)
{
	asm volatile("r0 = 0; *(u8 *)(r10 - 513) = r0; exit");
}

SEC("tc")
__attribute__((naked)) int crosses_top_bad(void)
{
	asm volatile("r0 = 0; *(u16 *)(r10 - 1) = r0; exit");
}

SEC("tc")
__attribute__((naked)) int above_bad(void)
{
	asm volatile("r0 = 0; *(u64 *)(r10 + 0) = r0; exit");
}

SEC("tc")
__attribute__((naked)) int moved_pointer_bad(void)
{
	asm volatile("r2 = r10; r2 += -512; r0 = *(u8 *)(r2 - 1); exit");
}

SEC("tc")
__attribute__((naked)) int lowest_ok(void)
{
	asm volatile("r0 = 0; *(u64 *)(r10 - 512) = r0; exit");
}
LICENSE("GPL");
