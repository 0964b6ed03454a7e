/* A dynamic pointer to a map value. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct bpf_dynptr {
	u64 opaque[2];
};
struct blob {
	u8 bytes[64];
};
DEFINE_MAP(blobs, MAP_ARRAY, u32, struct blob, 1);

SEC("tc")
int slice(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct blob *b = bpf_map_lookup_elem(&blobs, &zero);
	struct bpf_dynptr d;
	u64 word = 0;
	u32 *part;

	if (!b)
		return TC_OK;
	bpf_dynptr_from_mem(b, sizeof(*b), 0, &d);
	bpf_dynptr_read(&word, sizeof(word), &d, skb->len, 0);
	part = bpf_dynptr_data(&d, 8, sizeof(*part));
	if (part)
		*part = word;
	return TC_OK;
}
LICENSE("GPL");
