/* Registers that hold nothing, or may not be written. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int uninitialised_bad(void)
{
	asm volatile("r0 = r2; exit");
}

SEC("tc")
__attribute__((naked)) int lost_in_call_bad(void)
{
	asm volatile("r6 = r1; r3 = 1; call 7; r0 = r3; exit");
}

SEC("tc")
__attribute__((naked)) int write_frame_pointer_bad(void)
{
	asm volatile("r10 = 0; r0 = 0; exit");
}

SEC("tc")
__attribute__((naked)) int kept_over_call_ok(void)
{
	asm volatile("r6 = 1; call 7; r0 = r6; exit");
}
LICENSE("GPL");
