/* Reads the tunnel key of a packet. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(tenants, MAP_HASH, u32, u32, 128);

SEC("tc")
int tenant(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	u32 *class;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return TC_OK;
	class = bpf_map_lookup_elem(&tenants, &key.tunnel_id);
	if (!class)
		return TC_SHOT;
	skb->tc_classid = *class;
	return TC_OK;
}
LICENSE("GPL");
