/* Rate limit with nanosecond arithmetic and a division. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct bucket {
	u64 tokens;
	u64 last;
};
DEFINE_MAP(buckets, MAP_HASH, u32, struct bucket, 256);
const volatile u64 per_second = 1000;
const volatile u64 burst = 100;

SEC("xdp")
int limit(struct xdp_md *ctx)
{
	u32 key = ctx->ingress_ifindex;
	u64 now = bpf_ktime_get_ns(), gained;
	struct bucket fresh = { .tokens = burst, .last = now }, *b;

	b = bpf_map_lookup_elem(&buckets, &key);
	if (!b) {
		bpf_map_update_elem(&buckets, &key, &fresh, UPDATE_ANY);
		return XDP_PASS;
	}
	gained = (now - b->last) * per_second / 1000000000ULL;
	if (gained) {
		b->tokens = b->tokens + gained > burst ? burst : b->tokens + gained;
		b->last = now;
	}
	if (!b->tokens)
		return XDP_DROP;
	b->tokens--;
	return XDP_PASS;
}
LICENSE("GPL");
