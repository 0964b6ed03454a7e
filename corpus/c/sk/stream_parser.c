/* Message length from the first two bytes. */
#include "ctx.h"
#include "helpers.h"

SEC("sk_skb/stream_parser")
int frame(struct __sk_buff *skb)
{
	u16 len;

	if (skb->len < sizeof(len) || bpf_skb_load_bytes(skb, 0, &len, sizeof(len)))
		return 0;
	return HTONS(len) + sizeof(len);
}
LICENSE("GPL");
