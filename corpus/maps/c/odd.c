/* Maps that look wrong, and that kernels create. */
#include "maps.h"

MAP(hash_key1, HASH, 1, 1, 1, 0);
MAP(hash_key3, HASH, 3, 5, 4, NO_PREALLOC);
MAP(hash_zero_seed, HASH, 4, 8, 4, ZERO_SEED);
MAP(hash_rdonly_prog, HASH, 4, 8, 4, RDONLY_PROG);
MAP(hash_user_rdonly, HASH, 4, 8, 4, RDONLY);
MAP(hash_numa0, HASH, 4, 8, 4, NUMA_NODE);
MAP(hash_value_1m, HASH, 4, 1048576, 1, NO_PREALLOC);
MAP(hash_key_64k, HASH, 65536, 1, 1, NO_PREALLOC);
MAP(array_value3, ARRAY, 4, 3, 1, 0);
MAP(array_value_1m, ARRAY, 4, 1048576, 1, 0);
MAP(array_inner_flag, ARRAY, 4, 8, 4, INNER_MAP);
MAP(array_mmapable, ARRAY, 4, 8, 4, MMAPABLE);
MAP(array_mmapable_rdonly_prog, ARRAY, 4, 8, 4, MMAPABLE | RDONLY_PROG);
MAP(array_wronly_prog, ARRAY, 4, 8, 4, WRONLY_PROG);
MAP(prog_array_numa, PROG_ARRAY, 4, 4, 4, NUMA_NODE);
MAP(perf_many, PERF_EVENT_ARRAY, 4, 4, 5000, 0);
MAP(perf_unsized, PERF_EVENT_ARRAY, 4, 4, 0, 0);
MAP(perf_preserve, PERF_EVENT_ARRAY, 4, 4, 4, PRESERVE_ELEMS);
MAP(percpu_hash_32k, PERCPU_HASH, 4, 32768, 1, 0);
MAP(percpu_array_value1, PERCPU_ARRAY, 4, 1, 1, 0);
MAP(percpu_array_32761, PERCPU_ARRAY, 4, 32761, 1, 0);
MAP(stack_trace_1, STACK_TRACE, 4, 8, 1, 0);
MAP(stack_trace_build_id, STACK_TRACE, 4, 4064, 1, STACK_BUILD_ID);
MAP(cgroup_array_wronly, CGROUP_ARRAY, 4, 4, 1, WRONLY);
MAP(lru_no_common, LRU_HASH, 4, 8, 4, NO_COMMON_LRU);
MAP(lru_1, LRU_HASH, 4, 8, 1, 0);
MAP(lru_percpu_zero_seed, LRU_PERCPU_HASH, 4, 8, 4, ZERO_SEED);
MAP(lpm_key5, LPM_TRIE, 5, 1, 1, NO_PREALLOC);
MAP(lpm_key260, LPM_TRIE, 260, 8, 4, NO_PREALLOC);
MAP(devmap_value8, DEVMAP, 4, 8, 4, 0);
MAP(devmap_rdonly, DEVMAP, 4, 4, 4, RDONLY);
MAP(devmap_hash_value8, DEVMAP_HASH, 4, 8, 4, 0);
MAP(sockmap_value8, SOCKMAP, 4, 8, 4, 0);
MAP(cpumap_value8, CPUMAP, 4, 8, 4, 0);
MAP(xskmap_1, XSKMAP, 4, 4, 1, 0);
MAP(sockhash_key512, SOCKHASH, 512, 4, 4, 0);
MAP(sockhash_value8, SOCKHASH, 1, 8, 4, 0);
MAP(cgroup_storage_key16, CGROUP_STORAGE, 16, 8, 0, 0);
MAP(cgroup_storage_64k, CGROUP_STORAGE, 8, 65400, 0, 0);
MAP(percpu_cgroup_storage_32k, PERCPU_CGROUP_STORAGE, 8, 32768, 0, 0);
MAP(reuseport_value8, REUSEPORT_SOCKARRAY, 4, 8, 4, 0);
MAP(queue_1, QUEUE, 0, 1, 1, 0);
MAP(queue_4m, QUEUE, 0, 4194304, 1, 0);
MAP(stack_rdonly_prog, STACK, 0, 8, 4, RDONLY_PROG);
TYPED(sk_storage_clone, SK_STORAGE, int, u64, 0, NO_PREALLOC | CLONE);
TYPED(sk_storage_unsigned, SK_STORAGE, u32, u8[3], 0, NO_PREALLOC);
TYPED(task_storage_1, TASK_STORAGE, int, u8, 0, NO_PREALLOC);
TYPED(inode_storage_64k, INODE_STORAGE, int, u8[65400], 0, NO_PREALLOC);
TYPED(cgrp_storage_clone, CGRP_STORAGE, int, u64, 0, NO_PREALLOC | CLONE);
/* libbpf makes whole pages and powers of two of it. */
MAP(ringbuf_1, RINGBUF, 0, 0, 1, 0);
MAP(ringbuf_5000, RINGBUF, 0, 0, 5000, 0);
MAP(ringbuf_numa, RINGBUF, 0, 0, 4096, NUMA_NODE);
MAP(ringbuf_overwrite, RINGBUF, 0, 0, 4096, RB_OVERWRITE);
MAP(user_ringbuf_3_pages, USER_RINGBUF, 0, 0, 12288, 0);
MAP(bloom_zero_seed, BLOOM_FILTER, 0, 1, 1, ZERO_SEED);
MAP(arena_1, ARENA, 0, 0, 1, MMAPABLE);
MAP(a_name_of_more_than_fifteen_bytes, ARRAY, 4, 4, 1, 0);
MAP(array_token_flag, ARRAY, 4, 4, 1, 0);

struct {
	__uint(type, BLOOM_FILTER);
	__uint(value_size, 8);
	__uint(max_entries, 4);
	__uint(map_extra, 15);
} bloom_extra15 SEC(".maps");

/* Types that the kernel refuses: libbpf creates the map without. */
struct pair { u32 a, b; };
TYPED(array_struct_key, ARRAY, struct { u32 a; }, u64, 4, 0);
TYPED(lpm_int_key, LPM_TRIE, u64, u64, 4, NO_PREALLOC);
TYPED(hash_array_key, HASH, u32[2], struct pair, 4, 0);
