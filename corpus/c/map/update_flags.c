/* Insert, replace, delete, and what each returns. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u64, u32, 32);

SEC("tc")
int cycle(struct __sk_buff *skb)
{
	u64 key = skb->hash;
	u32 value = skb->len;

	if (!bpf_map_update_elem(&m, &key, &value, UPDATE_NOEXIST))
		return TC_OK;
	if (bpf_map_update_elem(&m, &key, &value, UPDATE_EXIST))
		return TC_SHOT;
	return bpf_map_delete_elem(&m, &key) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
