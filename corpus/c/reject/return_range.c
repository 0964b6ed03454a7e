/* Results outside what the program type may return. */
#include "ctx.h"

SEC("cgroup_skb/ingress")
int two_bad(struct __sk_buff *skb)
{
	return 2;
}

SEC("cgroup_skb/egress")
int four_bad(struct __sk_buff *skb)
{
	return 4;
}

SEC("cgroup_skb/ingress")
int unknown_bad(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("cgroup_skb/ingress")
int one_ok(struct __sk_buff *skb)
{
	return skb->len > 100;
}

SEC("cgroup_skb/egress")
int three_ok(struct __sk_buff *skb)
{
	return skb->len & 3;
}
LICENSE("GPL");
