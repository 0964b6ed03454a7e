/* The map has a lock, the template has none. */
#include "maps.h"

struct locked { struct bpf_spin_lock lock; int n; };
TYPED(other, ARRAY, int, struct locked, 1, 0);

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 1);
	__array(values, struct { __uint(type, ARRAY); __uint(key_size, 4); __uint(value_size, 8); __uint(max_entries, 1); });
} outer SEC(".maps") = { .values = { [0] = (void *)&other } };

SEC("socket") int p(void *ctx)
{
	return 0;
}
