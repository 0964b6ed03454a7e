/* The caller has a cgroup storage, the program in the slot has none and calls nobody. */
#include "maps.h"

struct {
	__uint(type, CGROUP_STORAGE);
	__uint(key_size, 16);
	__uint(value_size, 8);
} one SEC(".maps");

static void *(*const get_local_storage)(void *, u64) = (void *)81;

static long (*const tail_call)(void *, void *, u32) = (void *)12;

int a(void *ctx);

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [0] = (void *)&a } };

SEC("cgroup_skb/egress") int a(void *ctx)
{
	return 1;
}

SEC("cgroup_skb/egress") int entry(void *ctx)
{
	u64 *v = get_local_storage(&one, 0);

	tail_call(ctx, &table, 0);
	return *v & 1;
}
