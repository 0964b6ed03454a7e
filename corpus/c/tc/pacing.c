/* Earliest departure time per flow hash. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(departures, MAP_LRU_HASH, u32, u64, 1024);
const volatile u64 ns_per_byte = 8;

SEC("tc")
int pace(struct __sk_buff *skb)
{
	u32 key = bpf_get_hash_recalc(skb);
	u64 now = bpf_ktime_get_ns(), next, *last, cost = skb->len * ns_per_byte;

	last = bpf_map_lookup_elem(&departures, &key);
	if (!last) {
		next = now + cost;
		bpf_map_update_elem(&departures, &key, &next, UPDATE_ANY);
		return TC_OK;
	}
	next = *last + cost;
	if (next < now)
		next = now;
	if (next - now > 2000000000ULL)
		return TC_SHOT;
	skb->tstamp = next;
	*last = next;
	return TC_OK;
}
LICENSE("GPL");
