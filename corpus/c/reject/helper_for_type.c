/* A helper the program type does not have. */
#include "ctx.h"
#include "helpers.h"

char comm[16];

SEC("xdp")
int no_such_helper_bad(struct xdp_md *ctx)
{
	bpf_skb_vlan_pop((void *)ctx);
	return XDP_PASS;
}

SEC("xdp")
int has_helper_ok(struct xdp_md *ctx)
{
	return bpf_get_smp_processor_id() ? XDP_PASS : XDP_DROP;
}
LICENSE("GPL");
