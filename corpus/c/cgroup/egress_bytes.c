/* Counts bytes per cgroup; an egress program may also return 2 and 3. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(bytes, MAP_PERCPU_ARRAY, u32, u64, 1);

SEC("cgroup_skb/egress")
int account(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *n = bpf_map_lookup_elem(&bytes, &zero);

	if (!n)
		return 1;
	*n += skb->len;
	return *n > 1000000 ? 3 : 1;
}
LICENSE("GPL");
