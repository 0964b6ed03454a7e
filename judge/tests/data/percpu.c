/* Global data of which every processor has its own. */
#include "ctx.h"

#define BY_CPU SEC(".percpu")

u64 packets BY_CPU;
u32 lengths[16] BY_CPU;
u32 odd SEC(".percpu.odd");
char format[] SEC(".percpu.text") = "%d";

SEC("tc")
int count(struct __sk_buff *skb)
{
	packets++;
	lengths[skb->len & 15] += 1;
	return 0;
}

SEC("tc")
int atomic(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&packets, skb->len);
	return 0;
}

SEC("tc")
int other_section(struct __sk_buff *skb)
{
	odd = skb->len;
	return odd > 100;
}

/* What is read is not known to be what was written. */
SEC("tc")
__attribute__((naked)) int value_unknown_bad(void)
{
	asm volatile("r1 = %[p] ll; r2 = 7; *(u64 *)(r1 + 0) = r2; r3 = *(u64 *)(r1 + 0);"
		     "r1 += r3; r0 = *(u8 *)(r1 + 0); exit" : : [p] "i"(&packets) : "r0");
}

SEC("tc")
__attribute__((naked)) int beyond_bad(void)
{
	asm volatile("r1 = %[p] ll; r0 = *(u64 *)(r1 + 72); exit" : : [p] "i"(&packets) : "r0");
}

SEC("tc")
__attribute__((naked)) int before_bad(void)
{
	asm volatile("r1 = %[p] ll; r1 += -8; r0 = *(u64 *)(r1 + 0); exit" : : [p] "i"(&packets) : "r0");
}

SEC("tc")
__attribute__((naked)) int leak(void)
{
	asm volatile("r1 = %[p] ll; *(u64 *)(r1 + 0) = r1; r0 = 0; exit" : : [p] "i"(&packets) : "r0");
}

SEC("tc")
__attribute__((naked)) int text_bad(void)
{
	asm volatile("r1 = r10; r1 += -8; r2 = 0; *(u64 *)(r10 - 8) = r2; r2 = 8; r3 = %[f] ll; call 182; r0 = 0; exit" : : [f] "i"(&format) : "r0");
}

SEC("tc")
__attribute__((naked)) int filled_by_helper(void)
{
	asm volatile("r2 = 0; r3 = %[p] ll; r4 = 8; call 26; r0 = 0; exit" : : [p] "i"(&packets) : "r0");
}
LICENSE("GPL");
