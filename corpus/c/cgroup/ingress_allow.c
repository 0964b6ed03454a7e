/* Lets only listed ports in; a cgroup program sees the packet from its network header. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

DEFINE_MAP(open_ports, MAP_HASH, u16, u8, 64);

SEC("cgroup_skb/ingress")
int allow_ports(struct __sk_buff *skb)
{
	struct iphdr ip;
	u16 port;

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version != 4 || ip.protocol != PROTO_TCP)
		return 1;
	if (bpf_skb_load_bytes(skb, ip.ihl * 4 + 2, &port, sizeof(port)))
		return 0;
	return bpf_map_lookup_elem(&open_ports, &port) != 0;
}
LICENSE("GPL");
