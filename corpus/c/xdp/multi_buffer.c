/* Reads past the linear part with bpf_xdp_load_bytes. */
#include "ctx.h"
#include "helpers.h"

u64 last_word;

SEC("xdp.frags")
int tail_word(struct xdp_md *ctx)
{
	u64 len = bpf_xdp_get_buff_len(ctx), word = 0;

	if (len < sizeof(word) || bpf_xdp_load_bytes(ctx, len - sizeof(word), &word, sizeof(word)))
		return XDP_PASS;
	last_word = word;
	return XDP_PASS;
}
LICENSE("GPL");
