/* SipHash-2-4 over 1,496 bytes. */
#include "bench.h"

#define ROTL(x, n) ((x) << (n) | (x) >> (64 - (n)))
#define ROUND                                                                                      \
	do {                                                                                       \
		a += b, b = ROTL(b, 13) ^ a, a = ROTL(a, 32);                                      \
		c += d, d = ROTL(d, 16) ^ c;                                                       \
		a += d, d = ROTL(d, 21) ^ a;                                                       \
		c += b, b = ROTL(b, 17) ^ c, c = ROTL(c, 32);                                      \
	} while (0)

INLINE u64 body(u8 *p, u8 *end)
{
	u64 k0 = 0x0706050403020100ULL, k1 = 0x0f0e0d0c0b0a0908ULL;
	u64 a = k0 ^ 0x736f6d6570736575ULL, b = k1 ^ 0x646f72616e646f6dULL;
	u64 c = k0 ^ 0x6c7967656e657261ULL, d = k1 ^ 0x7465646279746573ULL;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < BENCH_LEN / 8; i++) {
		u64 m = *(u64 *)(p + i * 8);

		d ^= m;
		ROUND;
		ROUND;
		a ^= m;
	}
	c ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return a ^ b ^ c ^ d;
}
BENCH(siphash)
