/* Null-checks skb->sk and reads socket fields. */
#include "ctx.h"
#include "helpers.h"

SEC("tc")
int from_socket(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return TC_OK;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return TC_OK;
	return sk->family == 2 && sk->mark == 7 ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
