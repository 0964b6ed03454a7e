/* A kernel symbol that is not there reads as null. */
#include "ctx.h"

extern const int no_such_kernel_symbol __attribute__((section(".ksyms"))) WEAK;

int have;

SEC("tc")
int probe_symbol(struct __sk_buff *skb)
{
	have = &no_such_kernel_symbol != 0;
	return TC_OK;
}
LICENSE("GPL");
