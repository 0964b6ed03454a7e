/* Instructions no path reaches, and programs that do not end in an exit. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int after_exit_bad(void)
{
	asm volatile("r0 = 0; exit; r0 = 1; exit");
}

SEC("tc")
__attribute__((naked)) int jumped_over_bad(void)
{
	asm volatile("r0 = 0; goto +1; r0 = 1; exit");
}

SEC("tc")
__attribute__((naked)) int falls_off_bad(void)
{
	asm volatile("r0 = 0; r1 = 1");
}

SEC("tc")
__attribute__((naked)) int jump_out_bad(void)
{
	asm volatile("r0 = 0; if r0 == 0 goto +5; exit");
}

SEC("tc")
__attribute__((naked)) int into_wide_load_bad(void)
{
	asm volatile("r0 = 0; if r0 == 1 goto +1; r1 = 0x1122334455667788 ll; exit");
}

SEC("tc")
__attribute__((naked)) int both_reached_ok(void)
{
	asm volatile("r0 = *(u32 *)(r1 + 0); if r0 == 0 goto +1; r0 = 1; exit");
}
LICENSE("GPL");
