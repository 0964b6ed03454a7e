/* Clones to another port and goes on. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(mirrors, MAP_ARRAY, u32, u32, 1);

SEC("tc")
int mirror(struct __sk_buff *skb)
{
	u32 zero = 0, *port = bpf_map_lookup_elem(&mirrors, &zero);

	if (port && *port)
		bpf_clone_redirect(skb, *port, 0);
	return TC_OK;
}
LICENSE("GPL");
