/* A reservation that is not given back, given back twice, or used afterwards. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_RINGBUF(rb, 4096);

SEC("tc")
int leaked_bad(struct __sk_buff *skb)
{
	u64 *e = bpf_ringbuf_reserve(&rb, 8, 0);

	if (!e)
		return TC_OK;
	*e = 1;
	if (skb->len > 100)
		return TC_SHOT;
	bpf_ringbuf_submit(e, 0);
	return TC_OK;
}

SEC("tc")
int twice_bad(struct __sk_buff *skb)
{
	u64 *e = bpf_ringbuf_reserve(&rb, 8, 0);

	if (!e)
		return TC_OK;
	bpf_ringbuf_submit(e, 0);
	bpf_ringbuf_submit(e, 0);
	return TC_OK;
}

SEC("tc")
int used_after_bad(struct __sk_buff *skb)
{
	u64 *e = bpf_ringbuf_reserve(&rb, 8, 0);

	if (!e)
		return TC_OK;
	bpf_ringbuf_submit(e, 0);
	*(volatile u64 *)e = 1;
	return TC_OK;
}

SEC("tc")
int too_long_bad(struct __sk_buff *skb)
{
	u64 *e = bpf_ringbuf_reserve(&rb, 8, 0);

	if (!e)
		return TC_OK;
	*(volatile u64 *)(e + 1) = 1;
	bpf_ringbuf_submit(e, 0);
	return TC_OK;
}

SEC("tc")
int balanced_ok(struct __sk_buff *skb)
{
	u64 *e = bpf_ringbuf_reserve(&rb, 8, 0);

	if (!e)
		return TC_OK;
	*e = 1;
	if (skb->len > 100)
		bpf_ringbuf_discard(e, 0);
	else
		bpf_ringbuf_submit(e, 0);
	return TC_OK;
}
LICENSE("GPL");
