/* Maps of maps: what may be an inner map. */
#include "maps.h"

#define OF_MAPS(name, t, k, n, f, ...)                                                                             \
	struct {                                                                                                   \
		__uint(type, t);                                                                                   \
		__uint(key_size, k);                                                                               \
		__uint(max_entries, n);                                                                            \
		__uint(map_flags, f);                                                                              \
		__array(values, struct { __VA_ARGS__ });                                                           \
	} name SEC(".maps")
#define INNER(t, k, v, n, f)                                                                                       \
	__uint(type, t); __uint(key_size, k); __uint(value_size, v); __uint(max_entries, n); __uint(map_flags, f);

OF_MAPS(of_array, ARRAY_OF_MAPS, 4, 2, 0, INNER(ARRAY, 4, 8, 4, 0));
OF_MAPS(of_array_inner_flag, ARRAY_OF_MAPS, 4, 2, 0, INNER(ARRAY, 4, 8, 4, INNER_MAP));
OF_MAPS(of_hash, HASH_OF_MAPS, 4, 2, 0, INNER(HASH, 4, 8, 4, 0));
OF_MAPS(of_hash_no_prealloc, HASH_OF_MAPS, 8, 2, NO_PREALLOC, INNER(HASH, 4, 8, 4, 0));
OF_MAPS(of_ringbuf, ARRAY_OF_MAPS, 4, 2, 0, INNER(RINGBUF, 0, 0, 100, 0));
OF_MAPS(of_sockmap, ARRAY_OF_MAPS, 4, 2, 0, INNER(SOCKMAP, 4, 4, 4, 0));
OF_MAPS(of_perf, ARRAY_OF_MAPS, 4, 2, 0, INNER(PERF_EVENT_ARRAY, 4, 4, 0, 0));
OF_MAPS(of_cpumap, HASH_OF_MAPS, 4, 2, 0, INNER(CPUMAP, 4, 4, 4, 0));
OF_MAPS(of_devmap, ARRAY_OF_MAPS, 4, 2, 0, INNER(DEVMAP, 4, 4, 4, 0));
OF_MAPS(of_xskmap, ARRAY_OF_MAPS, 4, 2, 0, INNER(XSKMAP, 4, 4, 4, 0));
OF_MAPS(of_lpm, ARRAY_OF_MAPS, 4, 2, 0, INNER(LPM_TRIE, 8, 8, 4, NO_PREALLOC));
OF_MAPS(of_queue, ARRAY_OF_MAPS, 4, 2, 0, INNER(QUEUE, 0, 8, 4, 0));
OF_MAPS(of_bloom, ARRAY_OF_MAPS, 4, 2, 0, INNER(BLOOM_FILTER, 0, 8, 4, 0));
OF_MAPS(of_prog_array, ARRAY_OF_MAPS, 4, 2, 0, INNER(PROG_ARRAY, 4, 4, 4, 0));
OF_MAPS(of_cgroup_storage, ARRAY_OF_MAPS, 4, 2, 0, INNER(CGROUP_STORAGE, 8, 8, 0, 0));
OF_MAPS(of_arrays_of_maps, ARRAY_OF_MAPS, 4, 2, 0, INNER(ARRAY_OF_MAPS, 4, 4, 4, 0));
OF_MAPS(of_bad_array, ARRAY_OF_MAPS, 4, 2, 0, INNER(ARRAY, 8, 8, 4, 0));
OF_MAPS(of_big_percpu, ARRAY_OF_MAPS, 4, 2, 0, INNER(PERCPU_ARRAY, 4, 40000, 4, 0));
OF_MAPS(key8, ARRAY_OF_MAPS, 8, 2, 0, INNER(ARRAY, 4, 8, 4, 0));
OF_MAPS(mmapable, ARRAY_OF_MAPS, 4, 2, MMAPABLE, INNER(ARRAY, 4, 8, 4, 0));
OF_MAPS(rdonly_prog, HASH_OF_MAPS, 4, 2, RDONLY_PROG, INNER(ARRAY, 4, 8, 4, 0));

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, SK_STORAGE); __uint(map_flags, NO_PREALLOC); __type(key, int); __type(value, u64); });
} of_sk_storage SEC(".maps");

struct locked { struct bpf_spin_lock lock; int n; };
TYPED(plain_locked, ARRAY, int, struct locked, 1, 0);
struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, struct { __uint(type, ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, struct locked); });
} of_locked SEC(".maps");
