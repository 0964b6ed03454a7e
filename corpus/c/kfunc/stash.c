/* Objects exchanged with map values: stashed, taken back, freed with the value. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

struct note {
	u64 a, b;
};
struct slot {
	u64 uses;
	struct note KPTR *note;
};
DEFINE_MAP(slots, MAP_HASH, u32, struct slot, 8);
DEFINE_MAP(array, MAP_ARRAY, u32, struct slot, 2);

SEC("tc")
int stash(struct __sk_buff *skb)
{
	struct slot fresh = { .uses = 1 }, *s;
	struct note *n, *old;
	u32 key = skb->len & 7;
	int out = 0;

	bpf_map_update_elem(&slots, &key, &fresh, UPDATE_NOEXIST);
	s = bpf_map_lookup_elem(&slots, &key);
	if (!s)
		return -1;
	n = NEW(struct note);
	if (!n)
		return -2;
	n->a = skb->len;
	n->b = key;
	old = bpf_kptr_xchg(&s->note, n);
	if (old) {
		out = old->a + old->b;
		DROP(old);
	}
	s->uses++;
	if (key & 1)
		bpf_map_delete_elem(&slots, &key);
	key = 0;
	s = bpf_map_lookup_elem(&array, &key);
	if (!s)
		return out;
	n = bpf_kptr_xchg(&s->note, 0);
	if (n) {
		out += n->b;
		DROP(n);
	}
	bpf_map_update_elem(&array, &key, &fresh, UPDATE_ANY);
	return out;
}
LICENSE("GPL");
