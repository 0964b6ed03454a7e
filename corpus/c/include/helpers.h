/* The helpers the corpus calls, one row each: number, result, name, arguments. */
#pragma once
#include "base.h"

#define HELPER(id, ret, name, ...) static ret (*const name)(__VA_ARGS__) __attribute__((unused)) = (void *)id

struct __sk_buff;
struct xdp_md;
struct sk_msg_md;
struct bpf_sock;
struct bpf_sock_tuple;
struct bpf_fib_lookup;
struct bpf_spin_lock;
struct bpf_timer;
struct bpf_dynptr;
struct bpf_tunnel_key;

HELPER(1, void *, bpf_map_lookup_elem, void *map, const void *key);
HELPER(2, long, bpf_map_update_elem, void *map, const void *key, const void *value, u64 flags);
HELPER(3, long, bpf_map_delete_elem, void *map, const void *key);
HELPER(4, long, bpf_probe_read, void *dst, u32 size, const void *src);
HELPER(5, u64, bpf_ktime_get_ns, void);
HELPER(6, long, bpf_trace_printk, const char *fmt, u32 fmt_size, ...);
HELPER(7, u32, bpf_get_prandom_u32, void);
HELPER(8, u32, bpf_get_smp_processor_id, void);
HELPER(9, long, bpf_skb_store_bytes, struct __sk_buff *skb, u32 off, const void *from, u32 len, u64 flags);
HELPER(10, long, bpf_l3_csum_replace, struct __sk_buff *skb, u32 off, u64 from, u64 to, u64 size);
HELPER(11, long, bpf_l4_csum_replace, struct __sk_buff *skb, u32 off, u64 from, u64 to, u64 flags);
HELPER(12, long, bpf_tail_call, void *ctx, void *prog_array, u32 index);
HELPER(13, long, bpf_clone_redirect, struct __sk_buff *skb, u32 ifindex, u64 flags);
HELPER(14, u64, bpf_get_current_pid_tgid, void);
HELPER(15, u64, bpf_get_current_uid_gid, void);
HELPER(16, long, bpf_get_current_comm, void *buf, u32 size);
HELPER(18, long, bpf_skb_vlan_push, struct __sk_buff *skb, u16 proto, u16 tci);
HELPER(19, long, bpf_skb_vlan_pop, struct __sk_buff *skb);
HELPER(20, long, bpf_skb_get_tunnel_key, struct __sk_buff *skb, struct bpf_tunnel_key *key, u32 size, u64 flags);
HELPER(22, u64, bpf_perf_event_read, void *map, u64 flags);
HELPER(23, long, bpf_redirect, u32 ifindex, u64 flags);
HELPER(25, long, bpf_perf_event_output, void *ctx, void *map, u64 flags, void *data, u64 size);
HELPER(26, long, bpf_skb_load_bytes, const void *skb, u32 off, void *to, u32 len);
HELPER(27, long, bpf_get_stackid, void *ctx, void *map, u64 flags);
HELPER(28, s64, bpf_csum_diff, u32 *from, u32 from_size, u32 *to, u32 to_size, u32 seed);
HELPER(34, u32, bpf_get_hash_recalc, struct __sk_buff *skb);
HELPER(35, u64, bpf_get_current_task, void);
HELPER(38, long, bpf_skb_change_tail, struct __sk_buff *skb, u32 len, u64 flags);
HELPER(39, long, bpf_skb_pull_data, struct __sk_buff *skb, u32 len);
HELPER(43, long, bpf_skb_change_head, struct __sk_buff *skb, u32 len, u64 flags);
HELPER(44, long, bpf_xdp_adjust_head, struct xdp_md *xdp, int delta);
HELPER(45, long, bpf_probe_read_str, void *dst, u32 size, const void *src);
HELPER(46, u64, bpf_get_socket_cookie, void *ctx);
HELPER(47, u32, bpf_get_socket_uid, struct __sk_buff *skb);
HELPER(50, long, bpf_skb_adjust_room, struct __sk_buff *skb, s32 delta, u32 mode, u64 flags);
HELPER(51, long, bpf_redirect_map, void *map, u64 key, u64 flags);
HELPER(52, long, bpf_sk_redirect_map, struct __sk_buff *skb, void *map, u32 key, u64 flags);
HELPER(54, long, bpf_xdp_adjust_meta, struct xdp_md *xdp, int delta);
HELPER(60, long, bpf_msg_redirect_map, struct sk_msg_md *msg, void *map, u32 key, u64 flags);
HELPER(61, long, bpf_msg_apply_bytes, struct sk_msg_md *msg, u32 bytes);
HELPER(63, long, bpf_msg_pull_data, struct sk_msg_md *msg, u32 start, u32 end, u64 flags);
HELPER(65, long, bpf_xdp_adjust_tail, struct xdp_md *xdp, int delta);
HELPER(67, long, bpf_get_stack, void *ctx, void *buf, u32 size, u64 flags);
HELPER(69, long, bpf_fib_lookup, void *ctx, struct bpf_fib_lookup *params, int plen, u32 flags);
HELPER(80, u64, bpf_get_current_cgroup_id, void);
HELPER(84, struct bpf_sock *, bpf_sk_lookup_tcp, void *ctx, struct bpf_sock_tuple *tuple, u32 size, u64 netns, u64 flags);
HELPER(86, long, bpf_sk_release, void *sock);
HELPER(87, long, bpf_map_push_elem, void *map, const void *value, u64 flags);
HELPER(88, long, bpf_map_pop_elem, void *map, void *value);
HELPER(89, long, bpf_map_peek_elem, void *map, void *value);
HELPER(93, long, bpf_spin_lock, struct bpf_spin_lock *lock);
HELPER(94, long, bpf_spin_unlock, struct bpf_spin_lock *lock);
HELPER(95, struct bpf_sock *, bpf_sk_fullsock, struct bpf_sock *sk);
HELPER(112, long, bpf_probe_read_user, void *dst, u32 size, const void *src);
HELPER(113, long, bpf_probe_read_kernel, void *dst, u32 size, const void *src);
HELPER(114, long, bpf_probe_read_user_str, void *dst, u32 size, const void *src);
HELPER(115, long, bpf_probe_read_kernel_str, void *dst, u32 size, const void *src);
HELPER(118, u64, bpf_jiffies64, void);
HELPER(125, u64, bpf_ktime_get_boot_ns, void);
HELPER(130, long, bpf_ringbuf_output, void *ringbuf, void *data, u64 size, u64 flags);
HELPER(131, void *, bpf_ringbuf_reserve, void *ringbuf, u64 size, u64 flags);
HELPER(132, void, bpf_ringbuf_submit, void *data, u64 flags);
HELPER(133, void, bpf_ringbuf_discard, void *data, u64 flags);
HELPER(134, u64, bpf_ringbuf_query, void *ringbuf, u64 flags);
HELPER(153, void *, bpf_per_cpu_ptr, const void *percpu_ptr, u32 cpu);
HELPER(154, void *, bpf_this_cpu_ptr, const void *percpu_ptr);
HELPER(164, long, bpf_for_each_map_elem, void *map, void *callback, void *ctx, u64 flags);
HELPER(165, long, bpf_snprintf, char *str, u32 size, const char *fmt, u64 *data, u32 data_len);
HELPER(169, long, bpf_timer_init, struct bpf_timer *timer, void *map, u64 flags);
HELPER(170, long, bpf_timer_set_callback, struct bpf_timer *timer, void *callback);
HELPER(171, long, bpf_timer_start, struct bpf_timer *timer, u64 nsecs, u64 flags);
HELPER(173, u64, bpf_get_func_ip, void *ctx);
HELPER(174, u64, bpf_get_attach_cookie, void *ctx);
HELPER(181, long, bpf_loop, u32 nr_loops, void *callback, void *ctx, u64 flags);
HELPER(182, long, bpf_strncmp, const char *s1, u32 s1_size, const char *s2);
HELPER(188, u64, bpf_xdp_get_buff_len, struct xdp_md *xdp);
HELPER(189, long, bpf_xdp_load_bytes, struct xdp_md *xdp, u32 off, void *buf, u32 len);
HELPER(195, void *, bpf_map_lookup_percpu_elem, void *map, const void *key, u32 cpu);
HELPER(194, void *, bpf_kptr_xchg, void *dst, void *ptr);
HELPER(197, long, bpf_dynptr_from_mem, void *data, u32 size, u64 flags, struct bpf_dynptr *ptr);
HELPER(201, long, bpf_dynptr_read, void *dst, u32 len, const struct bpf_dynptr *src, u32 off, u64 flags);
HELPER(202, long, bpf_dynptr_write, const struct bpf_dynptr *dst, u32 off, void *src, u32 len, u64 flags);
HELPER(203, void *, bpf_dynptr_data, const struct bpf_dynptr *ptr, u32 off, u32 len);

/* trace_printk with its format on the stack's behalf. */
#define PRINTK(fmt, ...)                                                                           \
	({                                                                                         \
		static const char _fmt[] = fmt;                                                    \
		bpf_trace_printk(_fmt, sizeof(_fmt), ##__VA_ARGS__);                               \
	})
