/* Lengths the verifier cannot bound, or that exceed the buffer. */
#include "ctx.h"
#include "helpers.h"

u64 sink;

SEC("tc")
int too_long_bad(struct __sk_buff *skb)
{
	u64 buf[2];

	bpf_skb_load_bytes(skb, 0, buf, 17);
	sink = buf[0];
	return TC_OK;
}

SEC("tc")
int unknown_bad(struct __sk_buff *skb)
{
	u64 buf[2];

	bpf_skb_load_bytes(skb, 0, buf, skb->mark);
	sink = buf[0];
	return TC_OK;
}

SEC("tc")
int maybe_zero_bad(struct __sk_buff *skb)
{
	u64 buf[2];
	u32 n = skb->mark & 15;

	OPAQUE(n);
	bpf_skb_load_bytes(skb, 0, buf, n);
	sink = buf[0];
	return TC_OK;
}

SEC("tc")
int signed_bad(struct __sk_buff *skb)
{
	u64 buf[2];
	int n = (int)skb->mark;

	if (n > 16)
		return TC_OK;
	asm volatile("%0 <<= 32; %0 s>>= 32" : "+r"(n));
	bpf_skb_load_bytes(skb, 0, buf, n);
	sink = buf[0];
	return TC_OK;
}

SEC("tc")
int bounded_ok(struct __sk_buff *skb)
{
	u64 buf[2] = {};
	u32 n = (skb->mark & 15) + 1;

	OPAQUE(n);
	if (n < 1 || n > 16)
		return TC_OK;
	bpf_skb_load_bytes(skb, 0, buf, n);
	sink = buf[0];
	return TC_OK;
}
LICENSE("GPL");
