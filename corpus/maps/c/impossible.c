/* Maps that no loader can have: one attribute of each is wrong. */
#include "maps.h"

MAP(hash_no_key, HASH, 0, 8, 4, 0);
MAP(hash_no_value, HASH, 4, 0, 4, 0);
MAP(hash_flag_clone, HASH, 4, 8, 4, CLONE);
MAP(hash_mmapable, HASH, 4, 8, 4, MMAPABLE);
MAP(hash_no_common_lru, HASH, 4, 8, 4, NO_COMMON_LRU);
MAP(hash_both_prog, HASH, 4, 8, 4, RDONLY_PROG | WRONLY_PROG);
MAP(hash_both_user, HASH, 4, 8, 4, RDONLY | WRONLY);
MAP(hash_huge_key, HASH, 4194304, 8, 1, 0);
MAP(hash_huge_value, HASH, 4, 4194304, 1, NO_PREALLOC);
MAP(hash_inner_flag, HASH, 4, 8, 4, INNER_MAP);
MAP(array_key8, ARRAY, 8, 8, 4, 0);
MAP(array_no_prealloc, ARRAY, 4, 8, 4, NO_PREALLOC);
MAP(array_preserve, ARRAY, 4, 8, 4, PRESERVE_ELEMS);
MAP(array_build_id, ARRAY, 4, 8, 4, STACK_BUILD_ID);
MAP(prog_array_value8, PROG_ARRAY, 4, 8, 4, 0);
MAP(prog_array_rdonly_prog, PROG_ARRAY, 4, 4, 4, RDONLY_PROG);
MAP(prog_array_inner, PROG_ARRAY, 4, 4, 4, INNER_MAP);
MAP(perf_key2, PERF_EVENT_ARRAY, 2, 4, 4, 0);
MAP(perf_wronly_prog, PERF_EVENT_ARRAY, 4, 4, 4, WRONLY_PROG);
MAP(percpu_hash_numa, PERCPU_HASH, 4, 8, 4, NUMA_NODE);
MAP(percpu_hash_big, PERCPU_HASH, 4, 32776, 4, 0);
MAP(percpu_array_big, PERCPU_ARRAY, 4, 40000, 4, 0);
MAP(percpu_array_mmapable, PERCPU_ARRAY, 4, 8, 4, MMAPABLE);
MAP(stack_trace_value7, STACK_TRACE, 4, 7, 4, 0);
MAP(stack_trace_deep, STACK_TRACE, 4, 1024, 4, 0);
MAP(stack_trace_build_id_8, STACK_TRACE, 4, 8, 4, STACK_BUILD_ID);
MAP(cgroup_array_value8, CGROUP_ARRAY, 4, 8, 4, 0);
MAP(lru_no_prealloc, LRU_HASH, 4, 8, 4, NO_PREALLOC);
MAP(lru_numa_no_common, LRU_HASH, 4, 8, 4, NO_COMMON_LRU | NUMA_NODE);
MAP(lru_percpu_no_prealloc, LRU_PERCPU_HASH, 4, 8, 4, NO_PREALLOC);
MAP(lru_percpu_big, LRU_PERCPU_HASH, 4, 65536, 4, 0);
MAP(lpm_prealloc, LPM_TRIE, 8, 8, 4, 0);
MAP(lpm_short_key, LPM_TRIE, 4, 8, 4, NO_PREALLOC);
MAP(lpm_long_key, LPM_TRIE, 264, 8, 4, NO_PREALLOC);
MAP(lpm_zero_seed, LPM_TRIE, 8, 8, 4, NO_PREALLOC | ZERO_SEED);
MAP(devmap_value2, DEVMAP, 4, 2, 4, 0);
MAP(devmap_no_prealloc, DEVMAP, 4, 4, 4, NO_PREALLOC);
MAP(devmap_hash_key8, DEVMAP_HASH, 8, 4, 4, 0);
MAP(sockmap_value16, SOCKMAP, 4, 16, 4, 0);
MAP(cpumap_rdonly, CPUMAP, 4, 4, 4, RDONLY);
MAP(cpumap_many, CPUMAP, 4, 4, 9000, 0);
MAP(xskmap_value8, XSKMAP, 4, 8, 4, 0);
MAP(sockhash_key600, SOCKHASH, 600, 4, 4, 0);
MAP(cgroup_storage_entries, CGROUP_STORAGE, 8, 8, 1, 0);
MAP(cgroup_storage_key4, CGROUP_STORAGE, 4, 8, 0, 0);
MAP(percpu_cgroup_storage_big, PERCPU_CGROUP_STORAGE, 8, 32769, 0, 0);
MAP(reuseport_value2, REUSEPORT_SOCKARRAY, 4, 2, 4, 0);
MAP(queue_key4, QUEUE, 4, 8, 4, 0);
MAP(queue_no_prealloc, QUEUE, 0, 8, 4, NO_PREALLOC);
MAP(stack_big, STACK, 0, 4194305, 1, 0);
MAP(sk_storage_untyped, SK_STORAGE, 4, 8, 0, NO_PREALLOC);
TYPED(sk_storage_prealloc, SK_STORAGE, int, u64, 0, 0);
TYPED(sk_storage_entries, SK_STORAGE, int, u64, 4, NO_PREALLOC);
TYPED(task_storage_key8, TASK_STORAGE, u64, u64, 0, NO_PREALLOC);
TYPED(inode_storage_big, INODE_STORAGE, int, u8[65536], 0, NO_PREALLOC);
TYPED(cgrp_storage_rdonly, CGRP_STORAGE, int, u64, 0, NO_PREALLOC | RDONLY_PROG);
MAP(ringbuf_value8, RINGBUF, 0, 8, 4096, 0);
MAP(ringbuf_mmapable, RINGBUF, 0, 0, 4096, MMAPABLE);
MAP(user_ringbuf_overwrite, USER_RINGBUF, 0, 0, 4096, RB_OVERWRITE);
MAP(user_ringbuf_key4, USER_RINGBUF, 4, 0, 4096, 0);
MAP(bloom_key4, BLOOM_FILTER, 4, 8, 4, 0);
MAP(bloom_big, BLOOM_FILTER, 0, 4194305, 4, 0);
MAP(arena_not_mmapable, ARENA, 0, 0, 4, 0);
MAP(array_node_5000, ARRAY, 4, 8, 4, 1 << 14);

struct {
	__uint(type, BLOOM_FILTER);
	__uint(value_size, 8);
	__uint(max_entries, 4);
	__uint(map_extra, 16);
} bloom_extra16 SEC(".maps");

struct {
	__uint(type, HASH);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 4);
	__uint(map_extra, 1);
} hash_extra SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 4);
	__uint(map_flags, NUMA_NODE);
	__uint(numa_node, 4000);
} array_numa4000 SEC(".maps");
