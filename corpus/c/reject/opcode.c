/* Encodings that are no instruction. */
#include "base.h"

SEC("tc")
__attribute__((naked)) int unknown_opcode_bad(void)
{
	asm volatile(".8byte 0x00000000000000ff; r0 = 0; exit");
}

SEC("tc")
__attribute__((naked)) int zero_opcode_bad(void)
{
	asm volatile("r0 = 0; .8byte 0x00000000000000e0; exit");
}

SEC("tc")
__attribute__((naked)) int reserved_field_bad(void)
{
	asm volatile("r0 = 0; .8byte 0x00000000000100b7; exit");
}

SEC("tc")
__attribute__((naked)) int high_register_bad(void)
{
	asm volatile("r0 = 0; .8byte 0x0000000000000cb7; exit");
}

SEC("tc")
__attribute__((naked)) int half_wide_load_bad(void)
{
	asm volatile("r0 = 0; .8byte 0x0000000000000118; exit");
}

SEC("tc")
__attribute__((naked)) int plain_ok(void)
{
	asm volatile(".8byte 0x00000000000000b7; exit");
}
LICENSE("GPL");
