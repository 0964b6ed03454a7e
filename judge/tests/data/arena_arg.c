/* Kernel functions that take a pointer into the program's arena (7.3). */
#include "base.h"
#include "maps.h"

struct scx_cmask {
	u32 base;
};
int scx_bpf_sub_caps(u64 cgroup_id, u64 caps, struct scx_cmask *out) __attribute__((section(".ksyms")));

struct {
	int (*type)[33]; /* arena */
	int (*map_flags)[1 << 10]; /* mmapable */
	int (*max_entries)[1];
} arena MAP;

SEC("syscall") int takes_a_number(u64 *ctx)
{
	asm volatile("" :: "r"(&arena));
	return scx_bpf_sub_caps(0, 1, (struct scx_cmask *)ctx[0]);
}
SEC("syscall") int takes_null(u64 *ctx)
{
	asm volatile("" :: "r"(&arena));
	return scx_bpf_sub_caps(0, 1, 0);
}
SEC("syscall") int takes_the_stack(u64 *ctx)
{
	struct scx_cmask mask = {};

	asm volatile("" :: "r"(&arena));
	return scx_bpf_sub_caps(0, 1, &mask);
}
SEC("syscall") int has_no_arena(u64 *ctx)
{
	return scx_bpf_sub_caps(0, 1, (struct scx_cmask *)ctx[0]);
}
LICENSE("GPL");
