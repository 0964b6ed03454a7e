/* Classic packet loads (LD_ABS) in a socket filter. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");

DEFINE_MAP(counts, MAP_ARRAY, u32, u64, 256);

SEC("socket")
int count(struct __sk_buff *skb)
{
	u32 proto = load_byte(skb, 14 + 9);
	u64 *n = bpf_map_lookup_elem(&counts, &proto);

	if (n)
		__sync_fetch_and_add(n, skb->len);
	return 0;
}
LICENSE("GPL");
