/* An xdp program calls through the array of tc programs. */
#include "maps.h"

static long (*const tail_call)(void *, void *, u32) = (void *)12;

int a(void *ctx);
int entry(void *ctx);

struct {
	__uint(type, PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [0] = (void *)&a } };

SEC("tc") int a(void *ctx)
{
	return 0;
}

SEC("xdp") int entry(void *ctx)
{
	tail_call(ctx, &table, 0);
	return 2;
}
