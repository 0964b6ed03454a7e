/* The array belongs to a program with a cgroup storage; the one in the slot has none and calls on. */
#include "maps.h"

struct {
	__uint(type, CGROUP_STORAGE);
	__uint(key_size, 16);
	__uint(value_size, 8);
} one SEC(".maps");

struct calls {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
};
extern struct calls table __attribute__((section(".maps")));

static void *(*const get_local_storage)(void *, u64) = (void *)81;
static long (*const tail_call)(void *, void *, u32) = (void *)12;

SEC("cgroup_skb/egress") int entry(void *ctx)
{
	u64 *v = get_local_storage(&one, 0);

	tail_call(ctx, &table, 0);
	return *v & 1;
}

SEC("cgroup_skb/egress") int a(void *ctx)
{
	tail_call(ctx, &table, 0);
	return 1;
}

struct calls table SEC(".maps") = { .values = { [0] = (void *)&a } };
