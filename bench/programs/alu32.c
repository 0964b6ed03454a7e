/* 32-bit arithmetic: every result has its upper half cleared. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u32 a = *(u32 *)p | 1, b = *(u32 *)(p + 4), c = 0x9e3779b9;

	for (u32 i = 0; i < 2000; i++) {
		a += b ^ c;
		b = (b << 7 | b >> 25) ^ a;
		c = c * 0x85ebca6b + (a >> 5);
		a -= c & b;
		OPAQUE(a);
	}
	return a ^ b ^ c;
}
BENCH(alu32)
