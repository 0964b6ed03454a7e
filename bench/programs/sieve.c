/* Primes below 1,500 by crossing out bytes of the packet. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u32 count = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < BENCH_LEN; i++) {
		p[i] = 1;
		OPAQUE(p); /* or the compiler makes a call of it */
	}
#pragma clang loop unroll(disable)
	for (u32 i = 2; i < BENCH_LEN; i++) {
		if (!p[i])
			continue;
		count++;
#pragma clang loop unroll(disable)
		for (u32 j = i + i; j < BENCH_LEN; j += i)
			p[j] = 0;
	}
	return count;
}
BENCH(sieve)
