/* Two maps as sockhash and sockmap targets. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(by_index, MAP_SOCKMAP, 4);

SEC("sk_skb/stream_verdict")
int by_len(struct __sk_buff *skb)
{
	if (skb->len < 16)
		return SK_DROP;
	return bpf_sk_redirect_map(skb, &by_index, skb->len & 3, 1);
}
LICENSE("GPL");
