/* Outside the context, at a wrong size, or a field that may not be written. */
#include "ctx.h"

SEC("tc")
int outside_bad(struct __sk_buff *skb)
{
	return *(volatile u32 *)((u8 *)skb + sizeof(*skb));
}

SEC("tc")
int wide_bad(struct __sk_buff *skb)
{
	return *(volatile u64 *)&skb->mark;
}

SEC("tc")
int write_len_bad(struct __sk_buff *skb)
{
	*(volatile u32 *)&skb->len = 0;
	return TC_OK;
}

SEC("xdp")
int write_xdp_bad(struct xdp_md *ctx)
{
	*(volatile u32 *)&ctx->ingress_ifindex = 1;
	return XDP_PASS;
}

SEC("socket")
int tc_field_bad(struct __sk_buff *skb)
{
	return skb->tc_classid;
}

SEC("kprobe/do_exit")
int beyond_regs_bad(void *ctx)
{
	return *(volatile u64 *)(ctx + sizeof(struct pt_regs));
}

SEC("tc")
int variable_offset_bad(struct __sk_buff *skb)
{
	u64 i = skb->len & 3;

	OPAQUE(i);
	return *(volatile u32 *)((u8 *)skb + i * 4);
}

SEC("tc")
int inside_ok(struct __sk_buff *skb)
{
	skb->mark = skb->len;
	return TC_OK;
}
LICENSE("GPL");
