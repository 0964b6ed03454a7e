/* Dynamic pointers to packets: slices, narrowing, clones, copies. */
#include "ctx.h"
#include "helpers.h"
#include "kfunc.h"
#include "maps.h"

u8 kept[32];

SEC("tc")
int skb_slices(struct __sk_buff *skb)
{
	struct bpf_dynptr p, q;
	u8 buffer[8] = {}, *b;
	u64 sum;

	if (bpf_dynptr_from_skb(skb, 0, &p))
		return -1;
	sum = bpf_dynptr_size(&p) + bpf_dynptr_is_rdonly(&p) * 1000;
	b = bpf_dynptr_slice(&p, 14, buffer, sizeof(buffer));
	if (b)
		sum += b[0] * 3 + b[7];
	if (bpf_dynptr_clone(&p, &q))
		return -2;
	if (bpf_dynptr_adjust(&q, 14, skb->len))
		return -3;
	b = bpf_dynptr_slice_rdwr(&q, 0, buffer, sizeof(buffer));
	if (b)
		b[1] ^= 0xff;
	sum = sum * 7 + bpf_dynptr_size(&q) + bpf_dynptr_is_null(&q);
	sum = sum * 7 + bpf_dynptr_read(buffer, 4, &q, skb->len - 16, 0);
	sum = sum * 7 + bpf_dynptr_write(&q, 2, buffer, 4, 0);
	sum = sum * 7 + bpf_dynptr_adjust(&q, 3, 2);
	return sum;
}

SEC("xdp")
int xdp_slices(struct xdp_md *xdp)
{
	struct bpf_dynptr p, q;
	u8 buffer[16] = {}, *b;
	u64 sum;

	if (bpf_dynptr_from_xdp(xdp, 0, &p))
		return XDP_ABORTED;
	sum = bpf_dynptr_size(&p);
	b = bpf_dynptr_slice_rdwr(&p, 0, buffer, 12);
	if (b)
		b[0] = b[6];
	bpf_dynptr_clone(&p, &q);
	bpf_dynptr_adjust(&q, 12, sum);
	sum = sum * 5 + bpf_dynptr_read(buffer, 2, &q, 0, 0) + buffer[0];
	sum = sum * 5 + bpf_dynptr_write(&q, 0, "\x12\x34", 2, 0);
	bpf_dynptr_from_mem(kept, sizeof(kept), 0, &q);
	sum = sum * 5 + bpf_dynptr_copy(&q, 4, &p, 0, 14);
	sum = sum * 5 + bpf_dynptr_memset(&q, 24, 4, 0xab);
	sum = sum * 5 + bpf_dynptr_memset(&q, 30, 4, 0xab);
	return sum & 1 ? XDP_PASS : XDP_DROP;
}
LICENSE("GPL");
