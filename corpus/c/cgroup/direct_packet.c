/* Direct packet reads in a cgroup program. */
#include "ctx.h"
#include "net.h"

SEC("cgroup/skb")
int no_fragments(struct __sk_buff *skb)
{
	struct iphdr *ip = PKT(skb);

	if (!FITS(ip, PKT_END(skb)))
		return 1;
	return !(ip->version == 4 && (ip->frag_off & HTONS(0x3fff)));
}
LICENSE("GPL");
