/* A constant key within bounds proves a lookup in an array, but not in an inner array of any length. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

#define INNER_MAP (1u << 12)

struct any_length {
	NUM(type, MAP_ARRAY);
	NUM(map_flags, INNER_MAP);
	NUM(max_entries, 8);
	TYPE(key, u32);
	TYPE(value, u64);
} some MAP;
struct {
	NUM(type, MAP_HASH_OF_MAPS);
	NUM(max_entries, 1);
	TYPE(key, u32);
	struct any_length *values[];
} lengths MAP = { .values = { &some } };

struct eight {
	NUM(type, MAP_ARRAY);
	NUM(max_entries, 8);
	TYPE(key, u32);
	TYPE(value, u64);
} fixed MAP;
struct {
	NUM(type, MAP_ARRAY_OF_MAPS);
	NUM(max_entries, 1);
	TYPE(key, u32);
	struct eight *values[];
} eights MAP = { .values = { &fixed } };

INLINE u64 *at(void *outer, u32 key)
{
	u32 zero = 0;
	void *inner = bpf_map_lookup_elem(outer, &zero);

	return inner ? bpf_map_lookup_elem(inner, &key) : (u64 *)0;
}

SEC("xdp")
int unchecked_bad(struct xdp_md *ctx)
{
	u32 zero = 0, key = 4;
	void *inner = bpf_map_lookup_elem(&lengths, &zero);

	if (!inner)
		return XDP_PASS;
	return *(u64 *)bpf_map_lookup_elem(inner, &key) & 1;
}

SEC("xdp")
int first_unchecked_bad(struct xdp_md *ctx)
{
	u32 zero = 0, key = 0;
	void *inner = bpf_map_lookup_elem(&lengths, &zero);

	if (!inner)
		return XDP_PASS;
	return *(u64 *)bpf_map_lookup_elem(inner, &key) & 1;
}

/* The flag counts for the map itself as well. */
SEC("xdp")
int the_map_itself_bad(struct xdp_md *ctx)
{
	u32 key = 4;

	return *(u64 *)bpf_map_lookup_elem(&some, &key) & 1;
}

SEC("xdp")
int checked_ok(struct xdp_md *ctx)
{
	u64 *value = at(&lengths, 4);

	return value ? *value & 1 : XDP_PASS;
}

SEC("xdp")
int fixed_length_ok(struct xdp_md *ctx)
{
	u32 zero = 0, key = 4;
	void *inner = bpf_map_lookup_elem(&eights, &zero);

	if (!inner)
		return XDP_PASS;
	return *(u64 *)bpf_map_lookup_elem(inner, &key) & 1;
}

SEC("xdp")
int beyond_fixed_bad(struct xdp_md *ctx)
{
	u32 zero = 0, key = 8;
	void *inner = bpf_map_lookup_elem(&eights, &zero);

	if (!inner)
		return XDP_PASS;
	return *(u64 *)bpf_map_lookup_elem(inner, &key) & 1;
}
LICENSE("GPL");
