/* Copies packet heads into a ring buffer record. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"
#include "net.h"

struct sample {
	u64 when;
	u32 len, queue;
	u8 head[34];
};
DEFINE_RINGBUF(samples, 65536);

SEC("xdp")
int sample(struct xdp_md *ctx)
{
	void *end = PKT_END(ctx), *pkt = PKT(ctx);
	struct sample *s;

	if (pkt + sizeof(s->head) > end)
		return XDP_PASS;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s)
		return XDP_PASS;
	s->when = bpf_ktime_get_ns();
	s->len = end - pkt;
	s->queue = ctx->rx_queue_index;
	COPY(s->head, pkt, sizeof(s->head));
	bpf_ringbuf_submit(s, 0);
	return XDP_PASS;
}
LICENSE("GPL");
