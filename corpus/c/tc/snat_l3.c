/* Source address translation looked up in a hash, with both checksums. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_MAP(nat, MAP_HASH, u32, u32, 512);

SEC("tc")
int snat(struct __sk_buff *skb)
{
	struct ethhdr *eth = PKT(skb);
	struct iphdr *ip = (void *)(eth + 1);
	u32 from, *to, new_addr;

	if (!FITS(ip, PKT_END(skb)) || eth->proto != HTONS(ETH_IP))
		return TC_OK;
	from = ip->saddr;
	to = bpf_map_lookup_elem(&nat, &from);
	if (!to)
		return TC_OK;
	new_addr = *to;
	if (bpf_l3_csum_replace(skb, sizeof(*eth) + OFFSET_OF(struct iphdr, check), from, new_addr, 4))
		return TC_SHOT;
	if (bpf_skb_store_bytes(skb, sizeof(*eth) + OFFSET_OF(struct iphdr, saddr), &new_addr, 4, 0))
		return TC_SHOT;
	return TC_OK;
}
LICENSE("GPL");
