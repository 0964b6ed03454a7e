/* Fifteen frames of 100 bytes: Ethernet, a VLAN tag, IPv4 or IPv6, TCP or UDP, and a verdict on each. */
#include "bench.h"

LOCAL u32 verdict(u8 *p, u8 *end);

INLINE u64 body(u8 *p, u8 *end)
{
	u32 sum = 0;

#pragma clang loop unroll(disable)
	for (u32 i = 0; i < 15; i++)
		sum = sum * 31 + verdict(p + 100 * i, end);
	return sum;
}
BENCH(parser)

LOCAL u32 verdict(u8 *p, u8 *end)
{
	u16 proto = *(u16 *)(p + 12);
	u32 off = 14, l4 = 0, addr = 0;

	if (proto == HTONS(0x8100)) {
		proto = *(u16 *)(p + 16);
		off = 18;
	}
	if (proto == HTONS(0x0800)) {
		u8 *ip = p + off;

		if (ip + 20 > end)
			return 10;
		u32 ihl = (ip[0] & 15) * 4;

		if (ip[0] >> 4 != 4 || ihl < 20)
			return 1;
		if (*(u16 *)(ip + 6) & HTONS(0x1fff))
			return 2;
		l4 = ip[9];
		addr = *(u32 *)(ip + 12) ^ *(u32 *)(ip + 16);
		off += ihl;
	} else if (proto == HTONS(0x86dd)) {
		u8 *ip = p + off;

		if (ip + 40 > end)
			return 10;
		if (ip[0] >> 4 != 6)
			return 3;
		l4 = ip[6];
		addr = *(u32 *)(ip + 20) ^ *(u32 *)(ip + 36);
		off += 40;
	} else {
		return 4;
	}
	u8 *t = p + off;

	OPAQUE(t); /* one register is checked and used */
	if (t + 14 > end)
		return 10;

	if (l4 == 6) {
		u32 doff = t[12] >> 4;

		if (doff < 5)
			return 5;
		if ((t[13] & 0x12) == 0x02)
			return 6 + (*(u16 *)(t + 2) == HTONS(443));
		return addr & 0xff;
	}
	if (l4 == 17)
		return *(u16 *)(t + 2) == HTONS(53) ? 8 : (addr >> 8) & 0xff;
	return 9;
}
