/* Counts kernel stacks. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct {
	NUM(type, MAP_STACK_TRACE);
	NUM(key_size, 4);
	NUM(value_size, 127 * 8);
	NUM(max_entries, 1024);
} stacks MAP;
DEFINE_MAP(counts, MAP_HASH, u32, u64, 1024);

SEC("kprobe/__kmalloc_noprof")
int count(struct pt_regs *ctx)
{
	s32 id = bpf_get_stackid(ctx, &stacks, 0);
	u32 key = id;
	u64 one = 1, *n;

	if (id < 0)
		return 0;
	n = bpf_map_lookup_elem(&counts, &key);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&counts, &key, &one, UPDATE_NOEXIST);
	return 0;
}
LICENSE("GPL");
