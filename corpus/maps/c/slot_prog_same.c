/* Two programs of one type. */
#include "maps.h"

static long (*const tail_call)(void *, void *, u32) = (void *)12;

int a(void *ctx);
int b(void *ctx);
int entry(void *ctx);

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [0] = (void *)&a, [1] = (void *)&b } };

SEC("tc") int a(void *ctx)
{
	return 0;
}

SEC("tc") int b(void *ctx)
{
	return 0;
}

SEC("tc") int entry(void *ctx)
{
	tail_call(ctx, &table, 0);
	return 0;
}
