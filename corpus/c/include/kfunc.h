/* Kernel functions and the structures they work on, as the kernel's BTF names them. */
#pragma once
#include "base.h"

#define KFUNC WEAK __attribute__((section(".ksyms")))
#define TAG(text) __attribute__((btf_decl_tag(text)))
#define CONTAINS(type, node) TAG("contains:" #type ":" #node)
#define KPTR __attribute__((btf_type_tag("kptr")))
#define PERCPU_KPTR __attribute__((btf_type_tag("percpu_kptr")))
#define CONTAINER(ptr, type, member) ((type *)((char *)(ptr) - OFFSET_OF(type, member)))

struct bpf_spin_lock {
	u32 val;
};
struct bpf_list_head {
	u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
	u64 opaque[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
	u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
	u64 opaque[4];
} __attribute__((aligned(8)));
struct bpf_refcount {
	u32 opaque[1];
} __attribute__((aligned(4)));
struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_iter_bits {
	u64 opaque[2];
} __attribute__((aligned(8)));

extern void *bpf_obj_new_impl(u64 type_id, void *meta) KFUNC;
extern void bpf_obj_drop_impl(void *p, void *meta) KFUNC;
extern void *bpf_percpu_obj_new_impl(u64 type_id, void *meta) KFUNC;
extern void bpf_percpu_obj_drop_impl(void *p, void *meta) KFUNC;
extern void *bpf_refcount_acquire_impl(void *p, void *meta) KFUNC;
extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, u64 off) KFUNC;
extern int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, u64 off) KFUNC;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) KFUNC;
extern struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head) KFUNC;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			       _Bool (*less)(struct bpf_rb_node *a, const struct bpf_rb_node *b), void *meta, u64 off) KFUNC;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) KFUNC;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node) KFUNC;
#define NEW(type) ((type *)bpf_obj_new_impl(__builtin_btf_type_id(*(type *)0, 0), 0))
#define DROP(p) bpf_obj_drop_impl(p, 0)

extern int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *words, u32 count) KFUNC;
extern int *bpf_iter_bits_next(struct bpf_iter_bits *it) KFUNC;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits *it) KFUNC;

struct __sk_buff;
struct xdp_md;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, u64 flags, struct bpf_dynptr *p) KFUNC;
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, u64 flags, struct bpf_dynptr *p) KFUNC;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 off, void *buffer, u32 size) KFUNC;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 off, void *buffer, u32 size) KFUNC;
extern int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end) KFUNC;
extern int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone) KFUNC;
extern u32 bpf_dynptr_size(const struct bpf_dynptr *p) KFUNC;
extern _Bool bpf_dynptr_is_null(const struct bpf_dynptr *p) KFUNC;
extern _Bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p) KFUNC;
extern int bpf_dynptr_copy(struct bpf_dynptr *dst, u32 dst_off, struct bpf_dynptr *src, u32 src_off, u32 size) KFUNC;
extern int bpf_dynptr_memset(struct bpf_dynptr *p, u32 off, u32 size, u8 value) KFUNC;

extern int bpf_strcmp(const char *a, const char *b) KFUNC;
extern int bpf_strcasecmp(const char *a, const char *b) KFUNC;
extern int bpf_strchr(const char *s, char c) KFUNC;
extern int bpf_strnchr(const char *s, u64 n, char c) KFUNC;
extern int bpf_strrchr(const char *s, int c) KFUNC;
extern int bpf_strnlen(const char *s, u64 n) KFUNC;
extern int bpf_strspn(const char *s, const char *set) KFUNC;
extern int bpf_strcspn(const char *s, const char *set) KFUNC;
extern int bpf_strstr(const char *s, const char *part) KFUNC;
extern int bpf_strnstr(const char *s, const char *part, u64 n) KFUNC;

extern void bpf_throw(u64 cookie) KFUNC;
extern void bpf_rcu_read_lock(void) KFUNC;
extern void bpf_rcu_read_unlock(void) KFUNC;
extern void bpf_preempt_disable(void) KFUNC;
extern void bpf_preempt_enable(void) KFUNC;
