/* What the map definitions here share; no header of the system is needed. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, t) typeof(t) *name
#define __array(name, t) typeof(t) *name[]
#define __ulong(name, value) enum { __PASTE(name, __LINE__) = value } name
#define __PASTE2(a, b) a##b
#define __PASTE(a, b) __PASTE2(a, b)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum {
	HASH = 1, ARRAY, PROG_ARRAY, PERF_EVENT_ARRAY, PERCPU_HASH, PERCPU_ARRAY, STACK_TRACE, CGROUP_ARRAY, LRU_HASH,
	LRU_PERCPU_HASH, LPM_TRIE, ARRAY_OF_MAPS, HASH_OF_MAPS, DEVMAP, SOCKMAP, CPUMAP, XSKMAP, SOCKHASH, CGROUP_STORAGE,
	REUSEPORT_SOCKARRAY, PERCPU_CGROUP_STORAGE, QUEUE, STACK, SK_STORAGE, DEVMAP_HASH, STRUCT_OPS, RINGBUF, INODE_STORAGE,
	TASK_STORAGE, BLOOM_FILTER, USER_RINGBUF, CGRP_STORAGE, ARENA,
};

enum {
	NO_PREALLOC = 1 << 0, NO_COMMON_LRU = 1 << 1, NUMA_NODE = 1 << 2, RDONLY = 1 << 3, WRONLY = 1 << 4,
	STACK_BUILD_ID = 1 << 5, ZERO_SEED = 1 << 6, RDONLY_PROG = 1 << 7, WRONLY_PROG = 1 << 8, CLONE = 1 << 9,
	MMAPABLE = 1 << 10, PRESERVE_ELEMS = 1 << 11, INNER_MAP = 1 << 12, LINK = 1 << 13, SEGV_ON_FAULT = 1 << 17,
	RB_OVERWRITE = 1 << 19,
};

/* Sizes alone, no types: MAP(name, type, key, value, entries, flags). */
#define MAP(name, t, k, v, n, f)                                                                                   \
	struct {                                                                                                   \
		__uint(type, t);                                                                                   \
		__uint(key_size, k);                                                                               \
		__uint(value_size, v);                                                                             \
		__uint(max_entries, n);                                                                            \
		__uint(map_flags, f);                                                                              \
	} name SEC(".maps")

/* Key and value by type. */
#define TYPED(name, t, k, v, n, f)                                                                                 \
	struct {                                                                                                   \
		__uint(type, t);                                                                                   \
		__type(key, k);                                                                                    \
		__type(value, v);                                                                                  \
		__uint(max_entries, n);                                                                            \
		__uint(map_flags, f);                                                                              \
	} name SEC(".maps")

struct bpf_spin_lock { u32 val; };
struct bpf_res_spin_lock { u32 val; };
struct bpf_timer { u64 opaque[2]; };
struct bpf_wq { u64 opaque[2]; };
struct bpf_list_head { u64 opaque[2]; };
struct bpf_list_node { u64 opaque[3]; };
struct bpf_rb_root { u64 opaque[2]; };
struct bpf_rb_node { u64 opaque[4]; };
struct bpf_refcount { u32 opaque; };
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __contains(t, node) __attribute__((btf_decl_tag("contains:" #t ":" #node)))

char LICENSE[] SEC("license") = "GPL";
