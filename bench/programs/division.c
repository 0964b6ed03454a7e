/* Division and remainder: by constants, and by what the packet says. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 x = *(u64 *)p | 1;
	u32 d = p[8] | 1;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 500; i++) {
		x += (u32)x / d;
		x ^= (u32)x % 1000;
		x = x * 3 + x / 10;
		x += i % d;
	}
	return x;
}
BENCH(division)
