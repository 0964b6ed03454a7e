/* Handing unwritten stack to a helper that reads it. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct key {
	u32 a;
	u64 b;
};
DEFINE_MAP(m, MAP_HASH, struct key, u32, 8);

SEC("tc")
__attribute__((naked)) int half_written_bad(void)
{
	asm volatile("r0 = 0;"
		     "*(u32 *)(r10 - 8) = r0;"
		     "r2 = r10;"
		     "r2 += -8;"
		     "r3 = 9;"
		     "r1 = %[m] ll;"
		     "call 1;"
		     "r0 = 0;"
		     "exit" ::"i"(&m), [m] "i"(&m));
}

SEC("tc")
int written_ok(struct __sk_buff *skb)
{
	struct key k;

	__builtin_memset(&k, 0, sizeof(k));
	k.a = skb->len;
	return bpf_map_lookup_elem(&m, &k) ? TC_SHOT : TC_OK;
}
LICENSE("GPL");
