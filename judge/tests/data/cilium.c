/* What cilium/ebpf takes and libbpf does not: a pinning value to which the application gives a meaning, and a section
 * whose name only begins with a type's. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	int (*type)[2]; /* array */
	int (*max_entries)[4];
	u32 *key;
	u64 *value;
	int (*pinning)[100];
} shared MAP;

SEC("tc_ingress")
int counts(struct __sk_buff *skb)
{
	u32 key = 0;
	u64 *v = bpf_map_lookup_elem(&shared, &key);

	if (v)
		*v += skb->len;
	return 0;
}
LICENSE("GPL");
