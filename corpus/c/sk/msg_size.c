/* Only scalar context fields. */
#include "ctx.h"

u64 sizes[32];

SEC("sk_msg")
int histogram(struct sk_msg_md *msg)
{
	u32 size = msg->size, bucket = 0;

	for (int i = 0; i < 15 && size > 1; i++) {
		size >>= 1;
		bucket++;
	}
	if (bucket < ARRAY_LEN(sizes))
		sizes[bucket]++;
	return SK_PASS;
}
LICENSE("GPL");
