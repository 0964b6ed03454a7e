/* Objects on a list in global data: both ends, a node put on twice, a list that goes with its value. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

struct item {
	u64 value;
	struct bpf_list_node node;
	struct bpf_refcount refs;
};
struct bpf_spin_lock lock SEC(".data.list");
struct bpf_list_head head SEC(".data.list") CONTAINS(item, node);
u64 order;

INLINE struct item *make(u64 value)
{
	struct item *i = NEW(struct item);

	if (i)
		i->value = value;
	return i;
}

SEC("tc")
int queue(struct __sk_buff *skb)
{
	u64 seen = 0;
	int k;

	for (k = 0; k < 6; k++) {
		struct item *i = make(k + 1);

		if (!i)
			return TC_OK;
		bpf_spin_lock(&lock);
		if ((skb->len + k) & 1)
			bpf_list_push_front_impl(&head, &i->node, 0, 0);
		else
			bpf_list_push_back_impl(&head, &i->node, 0, 0);
		bpf_spin_unlock(&lock);
	}
	for (k = 0; k < 4; k++) {
		struct bpf_list_node *n;
		struct item *i;

		bpf_spin_lock(&lock);
		n = k & 1 ? bpf_list_pop_back(&head) : bpf_list_pop_front(&head);
		bpf_spin_unlock(&lock);
		if (!n)
			break;
		i = CONTAINER(n, struct item, node);
		seen = seen * 10 + i->value;
		DROP(i);
	}
	order = seen;
	return seen;
}

SEC("tc")
int twice(struct __sk_buff *skb)
{
	struct item *i = make(7), *again;
	int first, second;

	if (!i)
		return -1;
	again = bpf_refcount_acquire_impl(i, 0);
	bpf_spin_lock(&lock);
	first = bpf_list_push_front_impl(&head, &i->node, 0, 0);
	bpf_spin_unlock(&lock);
	bpf_spin_lock(&lock);
	second = bpf_list_push_front_impl(&head, &again->node, 0, 0);
	bpf_spin_unlock(&lock);
	return first * 1000 - second;
}

SEC("tc")
int lost_bad(struct __sk_buff *skb)
{
	struct item *i = make(skb->len);

	return i ? TC_OK : TC_SHOT;
}
LICENSE("GPL");
