/* Indirect jumps through tables. */
#include "ctx.h"

#define GOTOX(r) ".8byte " #r ";"
#define GOTOX_R0 ".8byte 0x000000000000000d;"
#define GOTOX_R2 ".8byte 0x000000000000020d;"
#define GOTOX_R3 ".8byte 0x000000000000030d;"
#define GOTOX_R6 ".8byte 0x000000000000060d;"
#define TABLE(name, size, rows) \
	".pushsection .jumptables,\"\",@progbits;" name ":" rows ".size " name "," size ";.global " name ";.popsection;"
#define Q(l) ".quad " l "_%= - socket;"
#define QT(l) ".quad " l "_%= - .text;"
#define PROG(name) SEC("socket") __attribute__((naked)) int name(void)

/* Which of two, by the packet's length. */
PROG(pick_of_two)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(pick_with_load_offset)
{
	asm volatile(TABLE("t%=", "24", Q("a") Q("b") Q("c"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 8);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;"
		     "c_%=: r0 = 2; exit;" ::: "r0");
}

PROG(pick_unaligned_step_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1;"
		     "r2 <<= 2;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(index_too_large_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 3;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* A state machine: the table jumps back. */
PROG(loop_by_table)
{
	asm volatile(TABLE("t%=", "24", Q("a") Q("b") Q("c"))
		     "r6 = 0;"
		     "r7 = r1;"
		     "next_%=:"
		     "r6 += 1;"
		     "if r6 > 10 goto out_%=;"
		     "r2 = *(u32 *)(r7 + 0);"
		     "r2 >>= r6;"
		     "if r2 > 2 goto out_%=;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r3 = *(u64 *)(r0 + 0);"
		     GOTOX_R3
		     "a_%=: r6 += 1; goto next_%=;"
		     "b_%=: r6 += 2; goto next_%=;"
		     "c_%=: goto next_%=;"
		     "out_%=: r0 = 0; exit;" ::: "r0");
}

/* The table names the head of the loop itself. */
PROG(loop_without_end_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r7 = r1;"
		     "a_%=:"
		     "r2 = *(u32 *)(r7 + 0);"
		     "r2 &= 1;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r3 = *(u64 *)(r0 + 0);"
		     GOTOX_R3
		     "b_%=: r0 = 0; exit;" ::: "r0");
}

PROG(arithmetic_on_target_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 0);"
		     "r0 += 8;"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(load_through_target_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 0);"
		     "r1 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(return_target_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "r2 = *(u64 *)(r0 + 0);"
		     GOTOX_R2
		     "a_%=: r0 = r2; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(table_itself_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(into_wide_load_bad)
{
	asm volatile(TABLE("t%=", "16", ".quad a_%= - socket + 8;" Q("b"))
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 8);"
		     GOTOX_R0
		     "a_%=: r0 = 0x1122334455667788 ll; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(beyond_the_end_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") ".quad a_%= - socket + 800000;")
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;" ::: "r0");
}

/* Two tables of one function: the graph has the rows of both behind each jump. */
PROG(two_tables)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     TABLE("u%=", "16", Q("c") Q("d"))
		     "r6 = *(u32 *)(r1 + 0);"
		     "r6 &= 1;"
		     "r6 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r6;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r7 = 0;"
		     "goto again_%=;"
		     "b_%=: r7 = 1;"
		     "again_%=:"
		     "r0 = u%= ll;"
		     "r0 += r6;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "c_%=: r0 = 0; exit;"
		     "d_%=: r0 = 1; exit;" ::: "r0");
}

/* Rows twice, not in order, and a range that leaves the first out. */
PROG(part_of_a_table)
{
	asm volatile(TABLE("t%=", "40", Q("a") Q("c") Q("b") Q("b") Q("c"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 3;"
		     "r2 += 1;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = r10; exit;"
		     "b_%=: r0 = 1; exit;"
		     "c_%=: r0 = 2; exit;" ::: "r0");
}

PROG(spilled_with_range)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1;"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     "*(u64 *)(r10 - 16) = r0;"
		     "r0 = 0;"
		     "r3 = *(u64 *)(r10 - 16);"
		     GOTOX_R3
		     "a_%=: r0 = *(u8 *)(r10 - 16); exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* What one row reads is alive before the jump. */
PROG(stack_across)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = *(u32 *)(r1 + 0);"
		     "r7 = 0;"
		     "if r6 > 100 goto big_%=;"
		     "r7 = 1;"
		     "big_%=:"
		     "*(u64 *)(r10 - 8) = r7;"
		     "*(u64 *)(r10 - 16) = r6;"
		     "r6 &= 1;"
		     "r6 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r6;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = *(u64 *)(r10 - 8); exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(unwritten_stack_in_one_row)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = *(u32 *)(r1 + 0);"
		     "r6 &= 1;"
		     "r6 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r6;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = *(u64 *)(r10 - 8); r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(lost_register_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = *(u32 *)(r1 + 0);"
		     "r6 &= 1;"
		     "r6 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r6;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = r8; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* The target is compared before it is used. */
PROG(compared_with_null)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 0);"
		     "if r0 == 0 goto b_%=;"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(store_constant_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "*(u64 *)(r0 + 0) = 7;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(atomic_on_table_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     "r1 = 8;"
		     "lock *(u64 *)(r0 + 0) += r1;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(sign_extending_load_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r0 = t%= ll;"
		     ".8byte 0x0000000000000081;"
		     GOTOX_R0
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* A helper reads the table. */
PROG(helper_reads_table)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = t%= ll;"
		     "r1 = r6;"
		     "r2 = 16;"
		     "r3 = 0;"
		     "r4 = 0;"
		     "call 6;"
		     "r6 = *(u64 *)(r6 + 8);"
		     GOTOX_R6
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(helper_reads_beyond_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = t%= ll;"
		     "r1 = r6;"
		     "r2 = 24;"
		     "r3 = 0;"
		     "r4 = 0;"
		     "call 6;"
		     "r6 = *(u64 *)(r6 + 8);"
		     GOTOX_R6
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

PROG(helper_writes_table_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r7 = r1;"
		     "r6 = t%= ll;"
		     "r1 = r7;"
		     "r2 = 0;"
		     "r3 = r6;"
		     "r4 = 8;"
		     "call 26;"
		     "r6 = *(u64 *)(r6 + 8);"
		     GOTOX_R6
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* The jump is the last instruction. */
PROG(jump_is_last)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r2 &= 1;"
		     "goto end_%=;"
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;"
		     "end_%=:"
		     "r2 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r2;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0 ::: "r0");
}

/* Rows never taken are removed, those behind them move. */
PROG(dead_rows)
{
	asm volatile(TABLE("t%=", "24", Q("a") Q("b") Q("c"))
		     "r2 = *(u32 *)(r1 + 0);"
		     "r0 = t%= ll;"
		     "r0 = *(u64 *)(r0 + 16);"
		     GOTOX_R0
		     "a_%=: r0 = 0; if r2 > 5 goto +1; r0 = 2; exit;"
		     "b_%=: r0 = 1; exit;"
		     "c_%=: r0 = 2; exit;" ::: "r0");
}

static __attribute__((naked, noinline, used)) int sub_by_table(void)
{
	asm volatile(TABLE("t%=", "16", QT("a") QT("b"))
		     "r1 &= 1;"
		     "r1 <<= 3;"
		     "r0 = t%= ll;"
		     "r0 += r1;"
		     "r0 = *(u64 *)(r0 + 0);"
		     GOTOX_R0
		     "a_%=: r0 = 5; exit;"
		     "b_%=: r0 = 6; exit;" ::: "r0");
}

PROG(both_functions)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r6 = *(u32 *)(r1 + 0);"
		     "r1 = r6;"
		     "call sub_by_table;"
		     "r6 &= 1;"
		     "r6 <<= 3;"
		     "r2 = t%= ll;"
		     "r2 += r6;"
		     "r2 = *(u64 *)(r2 + 0);"
		     GOTOX_R2
		     "a_%=: exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}

/* A target handed to a function that jumps to it. */
static __attribute__((naked, noinline, used)) int jumps_to_argument(void)
{
	asm volatile(TABLE("t%=", "16", QT("a") QT("b"))
		     ".8byte 0x000000000000010d;"
		     "a_%=: r0 = 5; exit;"
		     "b_%=: r0 = 6; exit;"
		     "r0 = t%= ll;"
		     "goto a_%=;" ::: "r0");
}

PROG(target_of_another_function_bad)
{
	asm volatile(TABLE("t%=", "16", Q("a") Q("b"))
		     "r1 = t%= ll;"
		     "r1 = *(u64 *)(r1 + 0);"
		     "call jumps_to_argument;"
		     "a_%=: r0 = 0; exit;"
		     "b_%=: r0 = 1; exit;" ::: "r0");
}
LICENSE("GPL");
