/* Lets through IPv4 packets whose source is on a list. */
#include "bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} allowed SEC(".maps");

SEC("tc")
int allow(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_SHOT;
	u32 source = ip->saddr;
	u64 *hits = bpf_map_lookup_elem(&allowed, &source);
	if (!hits)
		return TC_ACT_SHOT;
	__sync_fetch_and_add(hits, 1);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "GPL";
