/* BTF-defined maps: a variable in section .maps whose members carry numbers as array sizes and types
 * as pointers. */
#pragma once
#include "base.h"

#define NUM(field, value) int(*field)[value]
#define TYPE(field, type) typeof(type) *field
#define MAP SEC(".maps")

/* enum bpf_map_type. */
enum {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PROG_ARRAY = 3,
	MAP_PERF_EVENT_ARRAY = 4,
	MAP_PERCPU_HASH = 5,
	MAP_PERCPU_ARRAY = 6,
	MAP_STACK_TRACE = 7,
	MAP_CGROUP_ARRAY = 8,
	MAP_LRU_HASH = 9,
	MAP_LRU_PERCPU_HASH = 10,
	MAP_LPM_TRIE = 11,
	MAP_ARRAY_OF_MAPS = 12,
	MAP_HASH_OF_MAPS = 13,
	MAP_DEVMAP = 14,
	MAP_SOCKMAP = 15,
	MAP_CPUMAP = 16,
	MAP_SOCKHASH = 18,
	MAP_QUEUE = 22,
	MAP_STACK = 23,
	MAP_SK_STORAGE = 24,
	MAP_DEVMAP_HASH = 25,
	MAP_RINGBUF = 27,
	MAP_TASK_STORAGE = 29,
	MAP_BLOOM_FILTER = 30,
	MAP_USER_RINGBUF = 31,
	MAP_ARENA = 33,
};

/* Flags of map creation and of updates. */
enum {
	NO_PREALLOC = 1u << 0,
	RDONLY_PROG = 1u << 7,
	WRONLY_PROG = 1u << 8,
	MMAPABLE = 1u << 10,
};
enum { UPDATE_ANY = 0, UPDATE_NOEXIST = 1, UPDATE_EXIST = 2 };

/* One-line map for the usual shape. */
#define DEFINE_MAP(name, kind, k, v, n)                                                            \
	struct {                                                                                   \
		NUM(type, kind);                                                                   \
		TYPE(key, k);                                                                      \
		TYPE(value, v);                                                                    \
		NUM(max_entries, n);                                                               \
	} name MAP
#define DEFINE_RINGBUF(name, bytes)                                                                \
	struct {                                                                                   \
		NUM(type, MAP_RINGBUF);                                                            \
		NUM(max_entries, bytes);                                                           \
	} name MAP
#define DEFINE_FD_ARRAY(name, kind, n)                                                             \
	struct {                                                                                   \
		NUM(type, kind);                                                                   \
		NUM(key_size, 4);                                                                  \
		NUM(value_size, 4);                                                                \
		NUM(max_entries, n);                                                               \
	} name MAP
