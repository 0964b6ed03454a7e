/* What 7.x does otherwise at corners: contexts of system call programs, NULLs that decide, sizes, turns of loops. */
#include "maps.h"
#include "helpers.h"

/* As the kernel's own tests say it: states are kept at each jump. */
#define OFTEN __attribute__((btf_decl_tag("comment:test_prog_flags=BPF_F_TEST_STATE_FREQ")))
#define SAID __attribute__((btf_decl_tag("comment:test_expect_success")))

struct task_struct {
	int pid;
};

/* So that its type is whole in BTF. */
struct task_struct whole;

struct held {
	u64 chosen;
	struct task_struct __attribute__((btf_type_tag("kptr_untrusted"))) *task;
};

struct {
	NUM(type, MAP_ARRAY);
	NUM(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct held);
} holders MAP;

struct {
	NUM(type, MAP_PROG_ARRAY);
	NUM(max_entries, 1);
	NUM(key_size, 4);
	NUM(value_size, 4);
} jumps MAP;

SEC("syscall")
OFTEN SAID int between(void *ctx)
{
	return *(volatile u32 *)(ctx + 2);
}

SEC("syscall")
OFTEN SAID int as_memory(void *ctx)
{
	return bpf_probe_read_kernel(ctx + 6, 8, 0);
}

SEC("syscall")
OFTEN SAID int as_memory_anywhere(void *ctx)
{
	u32 at = *(volatile u32 *)ctx & 0xff;

	return bpf_probe_read_kernel(ctx + at, 8, 0);
}

SEC("syscall")
OFTEN SAID int moved_context(void *ctx)
{
	bpf_tail_call(ctx + 8, &jumps, 0);
	return 0;
}

SEC("syscall")
OFTEN SAID int tail_calls(void *ctx)
{
	bpf_tail_call(ctx, &jumps, 0);
	return 0;
}

/* One branch stores zero, the other a number, and both look alike where zero need not be known. */
SEC("tc")
OFTEN SAID int stores_number(void *ctx)
{
	u32 key = 0;
	struct held *h = bpf_map_lookup_elem(&holders, &key);

	if (!h)
		return 0;
	asm volatile("r1 = *(u64 *)(%0 + 0)\n"
		     "if r1 != 0 goto 1f\n"
		     "r7 = 0\n"
		     ".rept 10\n"
		     "r5 = 1\n"
		     ".endr\n"
		     "goto 2f\n"
		     "1: r7 = 0x4141414141414141 ll\n"
		     ".rept 10\n"
		     "r5 = 1\n"
		     ".endr\n"
		     "2: *(u64 *)(%0 + 8) = r7\n"
		     :
		     : "r"(h)
		     : "r1", "r5", "r7", "memory");
	return 0;
}

NOINLINE int second_of(int (*many)[0x3fffffff])
{
	return many ? (*many)[1] : 0;
}

SEC("tracepoint")
OFTEN SAID int too_large(void *ctx)
{
	int small = 42;

	return second_of((void *)&small) + small;
}

/* The loop ends in its second turn, in which only the frame of a pointer is another. */
static NOINLINE __attribute__((naked, used)) void other_frame(void)
{
	asm volatile("*(u64 *)(r10 - 8) = 1\n"
		     "1: r0 = *(u64 *)(r1 + 0)\n"
		     "if r0 != 0 goto 2f\n"
		     "r1 = r10\n"
		     "r1 += -8\n"
		     "goto 1b\n"
		     "2: exit\n" ::
			     : "r0", "r1", "r2", "r3", "r4", "r5", "memory");
}

SEC("xdp")
OFTEN SAID __attribute__((naked)) int turns(void)
{
	asm volatile("*(u64 *)(r10 - 8) = 0\n"
		     "r1 = r10\n"
		     "r1 += -8\n"
		     "call other_frame\n"
		     "exit\n" ::
			     : "r0", "r1", "r2", "r3", "r4", "r5", "memory");
}

LICENSE("GPL");
