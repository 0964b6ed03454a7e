/* Direct reads of the stream's data. */
#include "ctx.h"
#include "helpers.h"
#include "net.h"

SEC("sk_skb")
int magic(struct __sk_buff *skb)
{
	u32 *word = PKT(skb);

	if (!FITS(word, PKT_END(skb))) {
		if (bpf_skb_pull_data(skb, sizeof(*word)))
			return SK_DROP;
		word = PKT(skb);
		if (!FITS(word, PKT_END(skb)))
			return SK_DROP;
	}
	return *word == HTONL(0xfeedface) ? SK_PASS : SK_DROP;
}
LICENSE("GPL");
