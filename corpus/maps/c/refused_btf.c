/* A struct whose fields cannot be costs the object its BTF: every map is made without types, where that can be. */
#include "maps.h"

struct two_locks { struct bpf_spin_lock a, b; };
struct both_locks { struct bpf_spin_lock a; struct bpf_res_spin_lock b; };
struct node { struct bpf_list_node n; int value; };
struct lockless { struct bpf_list_head head __contains(node, n); };
struct lost { struct bpf_spin_lock lock; struct bpf_list_head head __contains(nobody, n); };

TYPED(nodes, HASH, int, struct node, 4, 0);
TYPED(hash_two_locks, HASH, int, struct two_locks, 4, 0);
TYPED(hash_both_locks, HASH, int, struct both_locks, 4, 0);
TYPED(hash_list_lockless, HASH, int, struct lockless, 4, 0);
TYPED(hash_list_lost, HASH, int, struct lost, 4, 0);
TYPED(sk_storage_plain, SK_STORAGE, int, u64, 0, NO_PREALLOC);
TYPED(array_plain, ARRAY, int, u64, 1, 0);
