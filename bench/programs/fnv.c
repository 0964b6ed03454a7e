/* FNV-1a over 1,500 bytes. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 h = 0xcbf29ce484222325ULL;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < BENCH_LEN; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}
BENCH(fnv)
