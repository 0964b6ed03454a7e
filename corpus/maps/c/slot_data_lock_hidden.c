/* A lock among variables that nobody maps. */
#include "maps.h"

static struct bpf_spin_lock lock SEC(".data.locked");
static int own SEC(".data.locked");

SEC("tc") int p(void *ctx)
{
	return own;
}
