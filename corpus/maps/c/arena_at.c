/* An arena at an address of its own. */
#include "maps.h"

struct {
	__uint(type, ARENA);
	__uint(map_flags, MMAPABLE);
	__uint(max_entries, 2);
	__ulong(map_extra, 1ull << 44);
} arena_at SEC(".maps");
