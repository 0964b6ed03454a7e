/* Instruction arrays that a program declares itself. */
#include "maps.h"
#include "ctx.h"
#include "helpers.h"

struct {
	int (*type)[34];
	int (*max_entries)[2];
	unsigned int *key;
	unsigned long long (*value)[2];
} targets SEC(".maps");

SEC("socket")
int named_only_bad(void *ctx)
{
	asm volatile("r1 = %[t] ll; r0 = 0" : : [t] "i"(&targets) : "r0", "r1");
	return 0;
}
LICENSE("GPL");
