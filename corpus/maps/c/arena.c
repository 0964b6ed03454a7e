/* A second arena: an object has one at most. */
#include "maps.h"

MAP(arena_segv, ARENA, 0, 0, 2, MMAPABLE | SEGV_ON_FAULT);
