/* Values with special fields, where a map may have them and where not.  Where the kernel refuses the types, libbpf asks
 * again without, and the map exists with plain bytes; types that need BTF have no second way. */
#include "maps.h"

struct locked { struct bpf_spin_lock lock; int n; };
struct res_locked { struct bpf_res_spin_lock lock; int n; };
struct timed { struct bpf_timer t; };
struct queued { struct bpf_wq w; };
struct node { struct bpf_list_node n; int value; };
struct listed { struct bpf_spin_lock lock; struct bpf_list_head head __contains(node, n); };
struct tree_node { struct bpf_rb_node n; };
struct tree { struct bpf_spin_lock lock; struct bpf_rb_root root __contains(tree_node, n); };
struct task_struct;
struct kept { struct task_struct __kptr *task; };
struct own { int x; };
struct kept_own { struct own __kptr *p; };

/* Types that the tags above name must be in the BTF. */
TYPED(nodes, HASH, int, struct node, 4, 0);
TYPED(tree_nodes, HASH, int, struct tree_node, 4, 0);

TYPED(hash_lock, HASH, int, struct locked, 4, 0);
TYPED(hash_lock_rdonly, HASH, int, struct locked, 4, RDONLY_PROG);
TYPED(hash_res_lock, HASH, int, struct res_locked, 4, 0);
TYPED(hash_list, HASH, int, struct listed, 4, 0);
TYPED(array_tree, ARRAY, int, struct tree, 1, 0);
TYPED(array_timer, ARRAY, int, struct timed, 1, 0);
TYPED(array_wq, ARRAY, int, struct queued, 1, 0);
TYPED(percpu_hash_lock, PERCPU_HASH, int, struct locked, 4, 0);
TYPED(percpu_array_timer, PERCPU_ARRAY, int, struct timed, 4, 0);
TYPED(percpu_array_kptr, PERCPU_ARRAY, int, struct kept_own, 4, 0);
TYPED(lru_timer, LRU_HASH, int, struct timed, 4, 0);
TYPED(lru_lock, LRU_HASH, int, struct locked, 4, 0);
TYPED(lpm_lock, LPM_TRIE, struct { u32 prefixlen; u32 addr; }, struct locked, 4, NO_PREALLOC);
TYPED(hash_kptr, HASH, int, struct kept_own, 4, 0);
TYPED(hash_kptr_task, HASH, int, struct kept, 4, 0);
TYPED(task_lock, TASK_STORAGE, int, struct locked, 0, NO_PREALLOC);
TYPED(task_timer, TASK_STORAGE, int, struct timed, 0, NO_PREALLOC);
TYPED(sk_list, SK_STORAGE, int, struct listed, 0, NO_PREALLOC);
TYPED(cgrp_kptr, CGRP_STORAGE, int, struct kept_own, 0, NO_PREALLOC);
TYPED(array_lock_mmapable, ARRAY, int, struct locked, 1, MMAPABLE);
