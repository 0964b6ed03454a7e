/* Looks a socket up and releases it on every path. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("tc")
int known_socket(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int verdict = TC_OK;

	if (!FITS(tcp, PKT_END(skb)) || eth->proto != HTONS(ETH_IP) || ip->ihl != 5 || ip->protocol != PROTO_TCP)
		return TC_OK;
	t.ipv4.saddr = ip->saddr;
	t.ipv4.daddr = ip->daddr;
	t.ipv4.sport = tcp->source;
	t.ipv4.dport = tcp->dest;
	sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), (u64)-1, 0);
	if (!sk)
		return TC_SHOT;
	if (sk->state != 10 && sk->mark == 1)
		verdict = TC_SHOT;
	bpf_sk_release(sk);
	return verdict;
}
LICENSE("GPL");
