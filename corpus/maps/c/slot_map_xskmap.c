/* Maps of sockets of two sizes. */
#include "maps.h"

MAP(other, XSKMAP, 4, 4, 8, 0);

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, XSKMAP); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4); __uint(map_flags, 0); });
} outer SEC(".maps") = { .values = { [0] = (void *)&other } };

SEC("socket") int p(void *ctx)
{
	return 0;
}
