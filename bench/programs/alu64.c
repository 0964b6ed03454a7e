/* 64-bit arithmetic: a mixer in a loop, seeded from the packet. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 a = *(u64 *)p | 1, b = *(u64 *)(p + 8), c = 0x9e3779b97f4a7c15ULL;

	for (u32 i = 0; i < 2000; i++) {
		a += b ^ c;
		b = (b << 13 | b >> 51) ^ a;
		c = c * 0xff51afd7ed558ccdULL + (a >> 7);
		a -= c & b;
	}
	return a ^ b ^ c;
}
BENCH(alu64)
