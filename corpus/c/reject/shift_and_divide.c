/* Constants no shift or division takes. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int shift_bad(void)
{
	asm volatile("r0 = 1; .8byte 0x0000004000000067; exit");
}

SEC("tc")
__attribute__((naked)) int divide_bad(void)
{
	asm volatile("r0 = 1; .8byte 0x0000000000000037; exit");
}

SEC("tc")
__attribute__((naked)) int largest_shift_ok(void)
{
	asm volatile("r0 = 1; r0 <<= 63; exit");
}
LICENSE("GPL");
