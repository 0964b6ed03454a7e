/* An arena at no page's address. */
#include "maps.h"

struct {
	__uint(type, ARENA);
	__uint(map_flags, MMAPABLE);
	__uint(max_entries, 2);
	__ulong(map_extra, (1ull << 44) + 8);
} arena_odd SEC(".maps");
