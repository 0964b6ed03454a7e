/* A name that neither a map nor a BTF variable may have: the object's BTF goes with it. */
#include "maps.h"

MAP(name$dollar, HASH, 4, 8, 4, 0);
/* The kernel sees fifteen bytes of a name. */
MAP(dollar_beyond_the_end$, HASH, 4, 8, 4, 0);
TYPED(array_plain, ARRAY, int, u64, 1, 0);
TYPED(sk_storage_plain, SK_STORAGE, int, u64, 0, NO_PREALLOC);

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, ARRAY); __uint(key_size, 4); __uint(value_size, 8); __uint(max_entries, 1); });
} of$maps SEC(".maps");
