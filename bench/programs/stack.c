/* The stack: a ring of sixteen words written, read back and shuffled. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 ring[16], x = *(u64 *)p;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 16; i++)
		ring[i] = x + i;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 1000; i++) {
		u64 v = ring[i & 15];

		ring[(i + 5) & 15] ^= v + x;
		x = x * 33 + v;
	}
	return x ^ ring[3];
}
BENCH(stack)
