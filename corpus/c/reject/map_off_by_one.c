/* One past the end of a map value. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct value {
	u8 bytes[16];
};
DEFINE_MAP(m, MAP_ARRAY, u32, struct value, 1);

SEC("tc")
int at_end_bad(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct value *v = bpf_map_lookup_elem(&m, &zero);

	return v ? *(volatile u8 *)((u8 *)v + sizeof(*v)) : 0;
}

SEC("tc")
int index_bad(struct __sk_buff *skb)
{
	u32 zero = 0, i = skb->len;
	struct value *v = bpf_map_lookup_elem(&m, &zero);

	if (!v || i > sizeof(v->bytes))
		return 0;
	return v->bytes[i];
}

SEC("tc")
int index_ok(struct __sk_buff *skb)
{
	u32 zero = 0, i = skb->len;
	struct value *v = bpf_map_lookup_elem(&m, &zero);

	if (!v || i >= sizeof(v->bytes))
		return 0;
	return v->bytes[i];
}
LICENSE("GPL");
