/* Key and value of a map iterator are NULL once at the end: they must be compared before use. */
#include "base.h"
#include "helpers.h"

struct elem_ctx {
	void *meta, *map, *key, *value;
};
struct sock_elem_ctx {
	void *meta, *map, *sk, *value;
};

SEC("iter/bpf_map_elem")
int key_read_bad(struct elem_ctx *ctx)
{
	volatile u32 *key = ctx->key;

	return *key & 0;
}

SEC("iter/bpf_map_elem")
int value_written_bad(struct elem_ctx *ctx)
{
	volatile u32 *value = ctx->value;

	*value = 1;
	return 0;
}

SEC("iter/bpf_map_elem")
int value_added_to_bad(struct elem_ctx *ctx)
{
	u64 *value = ctx->value;

	__sync_fetch_and_add(value, 1);
	return 0;
}

/* The other pointer was compared. */
SEC("iter/bpf_map_elem")
int wrong_one_compared_bad(struct elem_ctx *ctx)
{
	volatile u32 *key = ctx->key, *value = ctx->value;

	if (!key)
		return 0;
	return *value & 0;
}

SEC("iter/bpf_map_elem")
int compared_ok(struct elem_ctx *ctx)
{
	volatile u32 *key = ctx->key, *value = ctx->value;

	if (!key || !value)
		return 0;
	*value = *key;
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int storage_bad(struct sock_elem_ctx *ctx)
{
	volatile u32 *value = ctx->value;

	return *value & 0;
}
LICENSE("GPL");
