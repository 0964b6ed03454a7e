/* One type, two hooks. */
#include "maps.h"

static long (*const tail_call)(void *, void *, u32) = (void *)12;

int a(void *ctx);
int b(void *ctx);

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [0] = (void *)&a, [1] = (void *)&b } };

SEC("cgroup/connect4") int a(void *ctx)
{
	return 1;
}

SEC("cgroup/connect6") int b(void *ctx)
{
	return 1;
}
