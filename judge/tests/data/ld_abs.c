/* Precision tracked back over a subprogram that leaves by LD_ABS.  Never load these on 6.18.44: what it calls its own
 * bug here is harmless, but log level 2 is not. */
#include "base.h"
#define CLOBBERS "r0", "r1", "r2", "r3", "r4", "r5"

static NOINLINE int first_word(void *ctx)
{
	int r;

	asm volatile("r6 = r1; r0 = *(u32 *)skb[0]; %0 = r0" : "=r"(r) :: CLOBBERS, "r6");
	return r;
}
SEC("tc")
int r6_is_precise(void *ctx)
{
	asm volatile("r6 = *(u32 *)(r1 + 0); r6 &= 7; call %0;"
		     "r2 = r10; r2 += -16; r2 += r6; *(u8 *)(r2 + 0) = 1"
		     :: "i"(first_word) : CLOBBERS, "r6");
	return 0;
}
SEC("tc")
int r7_is_precise(void *ctx)
{
	asm volatile("r7 = *(u32 *)(r1 + 0); r7 &= 7; call %0;"
		     "r2 = r10; r2 += -16; r2 += r7; *(u8 *)(r2 + 0) = 1"
		     :: "i"(first_word) : CLOBBERS, "r7");
	return 0;
}
SEC("tc") int nothing_is_precise(void *ctx)
{
	return first_word(ctx);
}

static long (*bpf_loop)(u32 n, void *cb, void *p, u64 flags) = (void *)181;
struct holder {
	void *ctx;
};
static NOINLINE int word_at(void *ctx, u32 at)
{
	int r;

	asm volatile("r6 = %1; r0 = *(u32 *)skb[%2]; %0 = r0"
		     : "=r"(r) : "r"(ctx), "r"(at) : CLOBBERS, "r6");
	return r;
}
static int turn(u32 i, struct holder *h)
{
	asm volatile("r6 = %0; r0 = *(u32 *)skb[0]" :: "r"(h->ctx) : CLOBBERS, "r6");
	return 0;
}
static int turn_by_call(u32 i, struct holder *h)
{
	word_at(h->ctx, i);
	return 0;
}
SEC("tc") int in_callback(void *ctx)
{
	struct holder h = { ctx };

	bpf_loop(3, turn, &h, 0);
	return 0;
}
SEC("tc") int below_callback(void *ctx)
{
	struct holder h = { ctx };

	bpf_loop(3, turn_by_call, &h, 0);
	return 0;
}
LICENSE("GPL");
