/* Another CPU's value of a per-CPU map. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(load, MAP_PERCPU_ARRAY, u32, u64, 1);

SEC("tc")
int compare_cpus(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *mine = bpf_map_lookup_elem(&load, &zero);
	u64 *other = bpf_map_lookup_percpu_elem(&load, &zero, 0);

	if (!mine || !other)
		return TC_OK;
	return *mine > *other + 100 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
