/* Redirects a stream by its port. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(socks, MAP_SOCKMAP, 8);

SEC("sk_skb/stream_verdict")
int route(struct __sk_buff *skb)
{
	u32 port = skb->local_port;

	if (port == 22)
		return SK_DROP;
	return bpf_sk_redirect_map(skb, &socks, port & 7, 0);
}
LICENSE("GPL");
