/* Atomic operations on the stack: add with and without fetch, exchange, compare and exchange. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 word = *(u64 *)p, seen = 0;
	u32 half = *(u32 *)(p + 8);

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 300; i++) {
		seen += __sync_fetch_and_add(&word, i);
		seen ^= __sync_lock_test_and_set(&half, i);
		seen += __sync_val_compare_and_swap(&word, seen, seen + i);
		seen ^= __sync_fetch_and_or(&word, seen & 0xff);
	}
	return seen + word + half;
}
BENCH(atomics)
