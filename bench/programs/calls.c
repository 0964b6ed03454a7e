/* Calls from BPF to BPF: small functions that the compiler may not inline. */
#include "bench.h"

LOCAL u64 step(u64 a, u64 b, u64 c);

INLINE u64 body(u8 *p, u8 *end)
{
	u64 a = *(u64 *)p, b = *(u64 *)(p + 8);

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 500; i++) {
		a = step(a, b, i);
		b += a;
	}
	return a ^ b;
}
BENCH(calls)

LOCAL u64 mix(u64 a, u64 b)
{
	return (a ^ b >> 3) + b;
}

LOCAL u64 step(u64 a, u64 b, u64 c)
{
	return mix(a + c, b) ^ mix(b, c);
}
