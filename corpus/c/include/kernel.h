/* The few kernel structures the corpus reads, by name only: offsets come from the kernel's BTF (CO-RE). */
#pragma once
#include "base.h"

#define CORE __attribute__((preserve_access_index))

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct nsproxy *nsproxy;
	struct mm_struct *mm;
	const struct cred *cred;
	unsigned int flags;
} CORE;

struct mm_struct {
	int map_count;
	unsigned long total_vm;
} CORE;

typedef struct {
	unsigned int val;
} kuid_t;

struct cred {
	kuid_t uid, euid;
} CORE;

struct ns_common {
	unsigned int inum;
} CORE;

struct pid_namespace {
	struct ns_common ns;
	unsigned int level;
} CORE;

struct nsproxy {
	struct pid_namespace *pid_ns_for_children;
} CORE;

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile u8 skc_state;
} CORE;

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	int sk_rcvbuf;
} CORE;

struct sk_buff {
	u32 len, data_len;
	u16 network_header;
	unsigned char *head;
} CORE;

struct qstr {
	u32 len;
	const unsigned char *name;
} CORE;

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} CORE;

struct path {
	struct dentry *dentry;
} CORE;

struct file {
	struct path f_path;
	unsigned int f_flags;
} CORE;

/* Reads one field through any number of pointers with the kernel's offsets. */
#define CORE_READ_INTO(dst, ptr_field)                                                             \
	bpf_probe_read_kernel(dst, sizeof(*(dst)), __builtin_preserve_access_index(&(ptr_field)))
#define CORE_READ(ptr_field)                                                                       \
	({                                                                                         \
		typeof(ptr_field) _v;                                                              \
		__builtin_memset(&_v, 0, sizeof(_v));                                              \
		CORE_READ_INTO(&_v, ptr_field);                                                    \
		_v;                                                                                \
	})

/* What the loader answers about the kernel's types (enum bpf_core_relo_kind). */
#define CORE_FIELD_EXISTS(field) __builtin_preserve_field_info(field, 2)
#define CORE_FIELD_SIZE(field) __builtin_preserve_field_info(field, 1)
#define CORE_FIELD_OFFSET(field) __builtin_preserve_field_info(field, 0)
#define CORE_TYPE_EXISTS(type) __builtin_preserve_type_info(*(typeof(type) *)0, 0)
#define CORE_TYPE_SIZE(type) __builtin_preserve_type_info(*(typeof(type) *)0, 1)
#define CORE_ENUM_EXISTS(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 0)
#define CORE_ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, 1)
