/* What aya takes in its own way: section names that it splits at the slash, a pinning value and a field of a map that it
 * passes over, and a licence that it supplies where the object names none. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	int (*type)[2]; /* array */
	int (*max_entries)[4];
	u32 *key;
	u64 *value;
	int (*pinning)[100];
	int (*shard)[7];
} counts MAP;

SEC("classifier/count")
int counts_bytes(struct __sk_buff *skb)
{
	u32 key = 0;
	u64 *v = bpf_map_lookup_elem(&counts, &key);

	if (v)
		*v += skb->len;
	return 0;
}
SEC("socket/print")
int prints(struct __sk_buff *skb)
{
	char words[8] = "packet\n";

	bpf_trace_printk(words, sizeof(words));
	return 0;
}
SEC("cgroup_skb/ingress/count")
int constant_key(struct __sk_buff *skb)
{
	u32 key = 0;
	u64 *v = bpf_map_lookup_elem(&counts, &key);

	*v += skb->len;
	return 1;
}
