/* Messages that must not depend on the log level, and ids that are none. */
#include "base.h"
SEC("socket")
__attribute__((naked)) int endless(void *ctx)
{
	asm volatile("call 7; 1: if r0 > 5 goto 2f; goto 1b; 2: r0 = 0; exit");
}
SEC("socket")
__attribute__((naked)) int not_read(void *ctx)
{
	asm volatile("r0 = r9; exit");
}
/* LD_IMM64 with the pseudo source of a kernel variable, then its two words. */
#define BTF_ID(id, fd) ".8byte 0x" #id "00003018\n.8byte 0x" #fd "00000000\n"
SEC("socket")
__attribute__((naked)) int negative_id(void *ctx)
{
	asm volatile(BTF_ID(ffffffff, 00000000) "r0 = 0; exit");
}
SEC("socket")
__attribute__((naked)) int void_id(void *ctx)
{
	asm volatile(BTF_ID(00000000, 00000000) "r0 = 0; exit");
}
SEC("socket")
__attribute__((naked)) int written_descriptor(void *ctx)
{
	asm volatile(BTF_ID(00000001, 00000007) "r0 = 0; exit");
}
/* gotol whose target is past the largest number. */
SEC("socket")
__attribute__((naked)) int far(void *ctx)
{
	asm volatile("r0 = 0\n.8byte 0x7fffffff00000006\nexit");
}
SEC("socket")
__attribute__((naked)) int standard_output(void *ctx)
{
	asm volatile(".8byte 0x0000000100001118\n.8byte 0\nr0 = 0; exit");
}
SEC("socket")
__attribute__((naked)) int through_pointer(void *ctx)
{
	asm volatile("r0 = 0\n.8byte 0x8d\nexit");
}
LICENSE("GPL");
