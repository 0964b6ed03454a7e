/* LD_IND with an index from the packet. */
#include "ctx.h"
#include "net.h"

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");

SEC("socket")
int dns_only(struct __sk_buff *skb)
{
	u64 at = 14;

	if (load_half(skb, 12) != ETH_IP || load_byte(skb, at + 9) != PROTO_UDP)
		return 0;
	if (load_word(skb, at + 12) == 0x7f000001)
		return 0;
	at += (load_byte(skb, at) & 15) * 4;
	return load_half(skb, at + 2) == 53 ? skb->len : 0;
}
LICENSE("Dual MIT/GPL");
