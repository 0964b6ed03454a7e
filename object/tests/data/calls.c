/* Subprograms: order of first use, static, global, hidden, unreachable, recursive through a pointer, callbacks. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define noinline __attribute__((noinline))
static noinline int leaf(int x) { return x * 3 + (int)bpf_get_prandom_u32(); }
noinline int global_last(int x) { return leaf(x) + 1; }
__hidden noinline int hidden_one(int x) { return leaf(x) - 1; }
noinline int never_called(int x) { return leaf(x) ^ 5; }
static noinline int middle(int x) { return hidden_one(x) + leaf(x); }
static int each(__u32 i, void *ctx) { *(int *)ctx += leaf(i); return 0; }

SEC("tc")
int entry_a(struct __sk_buff *skb) { return middle(skb->len) + global_last(1); }

SEC("tc")
int entry_b(struct __sk_buff *skb) { return global_last(skb->len) + middle(2); }

SEC("?xdp.frags")
int entry_loop(struct xdp_md *ctx)
{
	int sum = 0;

	bpf_loop(4, each, &sum, 0);
	return sum;
}

SEC("xdp")
int entry_plain(struct xdp_md *ctx) { return XDP_PASS; }

SEC("unheard_of")
int entry_untyped(void *ctx) { return 0; }

char _license[] SEC("license") = "Dual BSD/GPL";
