/* A state machine over 1,024 bytes: a switch of sixteen cases each. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u64 x = 1;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 1024; i++) {
		switch ((p[i] ^ x) & 15) {
		case 0: x += 3; break;
		case 1: x ^= 0x55; break;
		case 2: x *= 5; break;
		case 3: x -= i; break;
		case 4: x = x << 3 | x >> 61; break;
		case 5: x |= 0x80; break;
		case 6: x &= ~0x11ULL; break;
		case 7: x += x >> 9; break;
		case 8: x ^= x << 7; break;
		case 9: x = ~x; break;
		case 10: x += 0x1234567; break;
		case 11: x ^= i; break;
		case 12: x *= 0x10001; break;
		case 13: x -= x >> 3; break;
		case 14: x = __builtin_bswap64(x); break;
		default: x += 7; break;
		}
		OPAQUE(x);
	}
	return x;
}
BENCH(switch_table)
