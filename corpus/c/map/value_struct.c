/* Nested structures and arrays inside one value, at fixed and variable offsets. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct port {
	u16 number;
	u8 flags[6];
	u32 hits[4];
};
struct host {
	u32 addr;
	struct port ports[8];
	u64 last;
};
DEFINE_MAP(hosts, MAP_HASH, u32, struct host, 64);

SEC("tc")
int touch(struct __sk_buff *skb)
{
	u32 key = skb->mark, p = skb->priority;
	struct host *h = bpf_map_lookup_elem(&hosts, &key);

	if (!h || p >= 8)
		return TC_OK;
	h->ports[p].hits[skb->len & 3]++;
	h->ports[p].flags[5] |= 1;
	h->last = bpf_ktime_get_ns();
	return h->ports[7 - p].number ? TC_OK : TC_SHOT;
}
LICENSE("GPL");
