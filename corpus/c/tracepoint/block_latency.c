/* Composite key and log2 histogram in a map value, with clamped index. */
#include "helpers.h"
#include "maps.h"

struct block_rq {
	u64 common;
	u32 dev, pad;
	u64 sector;
	u32 nr_sector;
};
struct key {
	u32 dev, pad;
	u64 sector;
};
struct hist {
	u32 slot[27];
};
DEFINE_MAP(issued, MAP_HASH, struct key, u64, 4096);
DEFINE_MAP(hists, MAP_HASH, u32, struct hist, 16);

INLINE u32 log2u(u64 v)
{
	u32 r = 0;

	if (v >> 32) {
		v >>= 32;
		r += 32;
	}
	if (v >> 16) {
		v >>= 16;
		r += 16;
	}
	if (v >> 8) {
		v >>= 8;
		r += 8;
	}
	if (v >> 4) {
		v >>= 4;
		r += 4;
	}
	if (v >> 2) {
		v >>= 2;
		r += 2;
	}
	return r + (v >> 1);
}

SEC("tp/block/block_rq_issue")
int issue(struct block_rq *ctx)
{
	struct key k = { .dev = ctx->dev, .sector = ctx->sector };
	u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&issued, &k, &now, UPDATE_ANY);
	return 0;
}

SEC("tp/block/block_rq_complete")
int complete(struct block_rq *ctx)
{
	static const struct hist none;
	struct key k = { .dev = ctx->dev, .sector = ctx->sector };
	u64 *t = bpf_map_lookup_elem(&issued, &k);
	struct hist *h;
	u32 slot;

	if (!t)
		return 0;
	slot = log2u((bpf_ktime_get_ns() - *t) / 1000);
	h = bpf_map_lookup_elem(&hists, &k.dev);
	if (!h) {
		bpf_map_update_elem(&hists, &k.dev, &none, UPDATE_NOEXIST);
		h = bpf_map_lookup_elem(&hists, &k.dev);
	}
	if (h) {
		if (slot >= ARRAY_LEN(h->slot))
			slot = ARRAY_LEN(h->slot) - 1;
		__sync_fetch_and_add(&h->slot[slot], 1);
	}
	bpf_map_delete_elem(&issued, &k);
	return 0;
}
LICENSE("GPL");
