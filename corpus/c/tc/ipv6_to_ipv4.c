/* Decides by both address families in one program. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct addr {
	u32 word[4];
};
DEFINE_MAP(deny, MAP_HASH, struct addr, u8, 256);

SEC("tc")
int deny_both(struct __sk_buff *skb)
{
	void *end = PKT_END(skb);
	struct ethhdr *eth = PKT(skb);
	struct addr key = {};

	if (!FITS(eth, end))
		return TC_OK;
	if (eth->proto == HTONS(ETH_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if (!FITS(ip, end))
			return TC_OK;
		key.word[2] = HTONL(0xffff);
		key.word[3] = ip->saddr;
	} else if (eth->proto == HTONS(ETH_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if (!FITS(ip6, end))
			return TC_OK;
		COPY(&key, ip6->saddr, sizeof(key));
	} else {
		return TC_OK;
	}
	return bpf_map_lookup_elem(&deny, &key) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
