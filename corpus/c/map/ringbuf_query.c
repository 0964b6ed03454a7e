/* Output only while there is room. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_RINGBUF(rb, 8192);
u64 lost;

SEC("tc")
int careful(struct __sk_buff *skb)
{
	u64 v[2];

	if (bpf_ringbuf_query(&rb, 0) > 4096) {
		lost++;
		return TC_OK;
	}
	v[0] = skb->len;
	v[1] = bpf_jiffies64();
	bpf_ringbuf_output(&rb, v, sizeof(v), 1);
	return TC_OK;
}
LICENSE("GPL");
