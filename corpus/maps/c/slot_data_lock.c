/* A lock among variables that are mapped into the loader. */
#include "maps.h"

struct bpf_spin_lock lock SEC(".data.locked");
int shared SEC(".data.locked");

SEC("tc") int p(void *ctx)
{
	return shared;
}
