/* Lists: into the middle, out of the middle, and asked where a node is. */
#include "maps.h"
#include "kfunc.h"
#include "helpers.h"

struct bpf_btf_dummy;
extern int bpf_list_add(struct bpf_list_head *head, struct bpf_list_node *node, struct bpf_list_node *prev) KFUNC;
extern struct bpf_list_node *bpf_list_del(struct bpf_list_head *head, struct bpf_list_node *node) KFUNC;
extern _Bool bpf_list_is_first(struct bpf_list_head *head, struct bpf_list_node *node) KFUNC;
extern _Bool bpf_list_is_last(struct bpf_list_head *head, struct bpf_list_node *node) KFUNC;
extern _Bool bpf_list_empty(struct bpf_list_head *head) KFUNC;
extern struct bpf_list_node *bpf_list_front(struct bpf_list_head *head) KFUNC;

struct item {
	struct bpf_list_node node;
	struct bpf_refcount count;
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

#define SHELF                                                  \
	u32 key = 0;                                           \
	struct shelf *s = bpf_map_lookup_elem(&shelves, &key); \
	if (!s)                                                \
		return 0;

SEC("tc")
int empty(void *ctx)
{
	SHELF
	bpf_spin_lock(&s->lock);
	_Bool e = bpf_list_empty(&s->head);
	bpf_spin_unlock(&s->lock);
	return e;
}

SEC("tc")
int empty_unlocked_bad(void *ctx)
{
	SHELF
	return bpf_list_empty(&s->head);
}

SEC("tc")
int behind_front(void *ctx)
{
	SHELF
	struct item *n = NEW(struct item);
	if (!n)
		return 0;
	bpf_spin_lock(&s->lock);
	struct bpf_list_node *front = bpf_list_front(&s->head);
	if (!front) {
		bpf_spin_unlock(&s->lock);
		DROP(n);
		return 0;
	}
	bpf_list_add(&s->head, &n->node, front);
	bpf_spin_unlock(&s->lock);
	return 0;
}

SEC("tc")
int not_dropped_bad(void *ctx)
{
	SHELF
	struct item *n = NEW(struct item);
	if (!n)
		return 0;
	bpf_spin_lock(&s->lock);
	struct bpf_list_node *front = bpf_list_front(&s->head);
	if (front)
		bpf_list_add(&s->head, &n->node, front);
	bpf_spin_unlock(&s->lock);
	return 0;
}

SEC("tc")
int front_unchecked_bad(void *ctx)
{
	SHELF
	struct item *n = NEW(struct item);
	if (!n)
		return 0;
	bpf_spin_lock(&s->lock);
	bpf_list_add(&s->head, &n->node, bpf_list_front(&s->head));
	bpf_spin_unlock(&s->lock);
	return 0;
}

SEC("tc")
int front_taken_out(void *ctx)
{
	SHELF
	struct bpf_list_node *out = 0;
	bpf_spin_lock(&s->lock);
	struct bpf_list_node *front = bpf_list_front(&s->head);
	if (front && bpf_list_is_first(&s->head, front) && !bpf_list_is_last(&s->head, front))
		out = bpf_list_del(&s->head, front);
	bpf_spin_unlock(&s->lock);
	if (out)
		DROP(CONTAINER(out, struct item, node));
	return 0;
}

SEC("tc")
int front_kept_bad(void *ctx)
{
	SHELF
	struct bpf_list_node *out = 0;
	bpf_spin_lock(&s->lock);
	struct bpf_list_node *front = bpf_list_front(&s->head);
	if (front)
		out = bpf_list_del(&s->head, front);
	bpf_spin_unlock(&s->lock);
	return out != 0;
}

SEC("tc")
int own_node_asked(void *ctx)
{
	SHELF
	struct item *n = NEW(struct item);
	if (!n)
		return 0;
	bpf_spin_lock(&s->lock);
	_Bool first = bpf_list_is_first(&s->head, &n->node);
	bpf_spin_unlock(&s->lock);
	DROP(n);
	return first;
}
LICENSE("GPL");
