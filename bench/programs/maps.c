/* Map-heavy: a counter in an array and a flow in a hash, looked up and updated at every step. */
#include "bench.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(counters, MAP_ARRAY, u32, u64, 256);
DEFINE_MAP(flows, MAP_HASH, u64, u64, 1024);

INLINE u64 body(u8 *p, u8 *end)
{
	u64 sum = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 200; i++) {
		u32 slot = p[i];
		u64 key = *(u64 *)(p + 4 * i) & 0x3f, one = 1;
		u64 *n = bpf_map_lookup_elem(&counters, &slot);

		if (n) {
			++*n;
			sum += slot;
		}
		n = bpf_map_lookup_elem(&flows, &key);
		if (n)
			*n += i;
		else
			bpf_map_update_elem(&flows, &key, &one, UPDATE_ANY);
	}
	return sum;
}
BENCH(maps)
