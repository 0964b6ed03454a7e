/* Kernel functions that get a pointer that may be NULL. */
#include "maps.h"
#include "kfunc.h"
#include "helpers.h"

struct item {
	struct bpf_list_node node;
	u64 value;
};

struct shelf {
	struct bpf_spin_lock lock;
	struct bpf_list_head head CONTAINS(item, node);
};

struct {
	NUM(type, MAP_ARRAY);
	NUM(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct shelf);
} shelves MAP;

SEC("tc")
int pushed_unchecked_bad(void *ctx)
{
	u32 key = 0;
	struct shelf *s = bpf_map_lookup_elem(&shelves, &key);
	if (!s)
		return 0;
	struct item *n = NEW(struct item);
	bpf_spin_lock(&s->lock);
	bpf_list_push_front_impl(&s->head, &n->node, 0, 0);
	bpf_spin_unlock(&s->lock);
	return 0;
}

SEC("tc")
int dropped_unchecked_bad(void *ctx)
{
	bpf_obj_drop_impl(NEW(struct item), 0);
	return 0;
}

SEC("tc")
int dropped_checked(void *ctx)
{
	struct item *n = NEW(struct item);
	if (n)
		bpf_obj_drop_impl(n, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
