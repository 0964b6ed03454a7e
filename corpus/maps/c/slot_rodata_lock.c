/* A lock among constants: the types are refused, the section is mapped all the same. */
#include "maps.h"

const struct bpf_spin_lock lock SEC(".rodata.locked") = { 0 };
const volatile int constant SEC(".rodata.locked") = 3;

SEC("tc") int p(void *ctx)
{
	return constant;
}
