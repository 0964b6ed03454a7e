/* Reads a message's bytes between data and data_end. */
#include "ctx.h"
#include "helpers.h"

SEC("sk_msg")
int no_get(struct sk_msg_md *msg)
{
	u8 *p, *end;

	if (bpf_msg_pull_data(msg, 0, 4, 0))
		return SK_PASS;
	p = msg->data;
	end = msg->data_end;
	if (p + 4 > end)
		return SK_PASS;
	if (p[0] == 'G' && p[1] == 'E' && p[2] == 'T' && p[3] == ' ')
		return SK_DROP;
	bpf_msg_apply_bytes(msg, 4);
	return SK_PASS;
}
LICENSE("GPL");
