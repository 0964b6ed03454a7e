/* Device maps, which the kernel makes read-only to programs. */
#include "maps.h"

MAP(other, DEVMAP, 4, 4, 4, 0);

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, DEVMAP); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4); __uint(map_flags, 0); });
} outer SEC(".maps") = { .values = { [0] = (void *)&other } };

SEC("socket") int p(void *ctx)
{
	return 0;
}
