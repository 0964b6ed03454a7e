/* A length the verifier must know to be between 1 and the buffer's size. */
#include "ctx.h"
#include "helpers.h"

u64 sum;

SEC("tc")
int copy_payload(struct __sk_buff *skb)
{
	u8 buf[64] = {};
	u32 len = skb->len;

	if (len < 1)
		return TC_OK;
	if (len > sizeof(buf))
		len = sizeof(buf);
	OPAQUE(len);
	if (len - 1 < sizeof(buf)) {
		if (bpf_skb_load_bytes(skb, 0, buf, len))
			return TC_OK;
	}
	sum += buf[0] + buf[63];
	return TC_OK;
}
LICENSE("GPL");
