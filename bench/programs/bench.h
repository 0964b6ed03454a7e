/* Each program here is compiled twice: as a sched_cls program over a packet of BENCH_LEN bytes (what a
 * kernel test-runs), and with RAW as a bare function of memory (what engines without maps and contexts run). */
#pragma once
#include "base.h"
#include "ctx.h"

#define BENCH_LEN 1500

#ifdef RAW
#define LOCAL static __attribute__((section("raw"), noinline))
#define BENCH(name) SEC("raw") u64 name(u8 *p, u64 len) { return body(p, p + len); }
#else
#define LOCAL static NOINLINE
#define BENCH(name)                                                                                \
	SEC("tc") int name(struct __sk_buff *skb)                                                  \
	{                                                                                          \
		u8 *p = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;                   \
		return p + BENCH_LEN > end ? -1 : (int)body(p, end);                                    \
	}                                                                                          \
	LICENSE("GPL");
#endif
