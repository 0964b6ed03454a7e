/* Two tracepoints of other arguments. */
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

SEC("tp_btf/sched_switch") int a(void *ctx)
{
	return 0;
}

SEC("tp_btf/task_newtask") int b(void *ctx)
{
	return 0;
}
