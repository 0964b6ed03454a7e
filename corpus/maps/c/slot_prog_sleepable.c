/* A program that may sleep, and one that may not. */
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

SEC("uprobe") int a(void *ctx)
{
	return 0;
}

SEC("uprobe.s") int b(void *ctx)
{
	return 0;
}
