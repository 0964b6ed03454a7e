/* Nobody calls: the first slot says whose array it is. */
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

SEC("xdp") int a(void *ctx)
{
	return 2;
}

SEC("tc") int b(void *ctx)
{
	return 0;
}
