/* The Internet checksum of 1,500 bytes, two bytes at a time. */
#include "bench.h"

INLINE u64 body(u8 *p, u8 *end)
{
	u32 sum = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < BENCH_LEN / 2; i++)
		sum += *(u16 *)(p + 2 * i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}
BENCH(checksum)
