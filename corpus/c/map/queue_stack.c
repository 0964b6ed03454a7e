/* Maps without keys. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_QUEUE);
	TYPE(value, u32);
	NUM(max_entries, 16);
} queue MAP;
struct {
	NUM(type, MAP_STACK);
	TYPE(value, u32);
	NUM(max_entries, 16);
} stack MAP;

SEC("tc")
int shuffle(struct __sk_buff *skb)
{
	u32 v = skb->len, w = 0;

	bpf_map_push_elem(&queue, &v, 0);
	if (!bpf_map_pop_elem(&queue, &w))
		bpf_map_push_elem(&stack, &w, 2);
	if (bpf_map_peek_elem(&stack, &w))
		return TC_OK;
	return w > 1500 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
