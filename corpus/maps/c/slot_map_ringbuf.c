/* Ring buffers of two sizes. */
#include "maps.h"

MAP(other, RINGBUF, 0, 0, 8192, 0);

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, RINGBUF); __uint(key_size, 0); __uint(value_size, 0); __uint(max_entries, 4096); __uint(map_flags, 0); });
} outer SEC(".maps") = { .values = { [0] = (void *)&other } };

SEC("socket") int p(void *ctx)
{
	return 0;
}
