/* A looked-up socket that is not released, or whose absence is not checked. */
#include "ctx.h"
#include "helpers.h"

SEC("tc")
int unreleased_bad(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), (u64)-1, 0);

	return sk ? TC_OK : TC_SHOT;
}

SEC("tc")
int unchecked_bad(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), (u64)-1, 0);

	bpf_sk_release(sk);
	return TC_OK;
}

SEC("tc")
int released_ok(struct __sk_buff *skb)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), (u64)-1, 0);

	if (sk)
		bpf_sk_release(sk);
	return TC_OK;
}
LICENSE("GPL");
