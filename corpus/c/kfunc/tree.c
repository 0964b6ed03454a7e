/* A red-black tree ordered by the program's own comparison. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

struct leaf {
	u64 key;
	u64 data;
	struct bpf_rb_node node;
};
struct bpf_spin_lock lock SEC(".data.tree");
struct bpf_rb_root root SEC(".data.tree") CONTAINS(leaf, node);
u64 smallest[4];

static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return CONTAINER(a, struct leaf, node)->key < CONTAINER(b, struct leaf, node)->key;
}

SEC("tc")
int sort(struct __sk_buff *skb)
{
	u64 x = skb->len, digest = 0;
	int k;

	for (k = 0; k < 20; k++) {
		struct leaf *l = NEW(struct leaf);

		if (!l)
			return TC_OK;
		x = x * 1103515245 + 12345;
		l->key = x >> 16 & 63;
		l->data = k;
		bpf_spin_lock(&lock);
		bpf_rbtree_add_impl(&root, &l->node, less, 0, 0);
		bpf_spin_unlock(&lock);
	}
	for (k = 0; k < 12; k++) {
		struct bpf_rb_node *n;
		struct leaf *l;

		bpf_spin_lock(&lock);
		n = bpf_rbtree_first(&root);
		if (!n) {
			bpf_spin_unlock(&lock);
			break;
		}
		n = bpf_rbtree_remove(&root, n);
		bpf_spin_unlock(&lock);
		if (!n)
			break;
		l = CONTAINER(n, struct leaf, node);
		digest = digest * 131 + l->key * 32 + l->data;
		smallest[k & 3] = l->key;
		DROP(l);
	}
	return digest;
}
LICENSE("GPL");
