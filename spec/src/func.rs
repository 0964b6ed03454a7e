//! Numbers of the helpers that a rule of the verifier names (`enum bpf_func_id`).
//!
//! Prototypes and everything that holds for all helpers alike are in [`crate::helper`].

macro_rules! ids {
    ($($name:ident = $id:literal $text:literal,)*) => {
        $(pub const $name: i32 = $id;)*

        #[cfg(test)]
        const ALL: &[(i32, &str)] = &[$(($id, $text),)*];
    };
}

ids! {
    MAP_LOOKUP_ELEM = 1 "bpf_map_lookup_elem",
    MAP_UPDATE_ELEM = 2 "bpf_map_update_elem",
    MAP_DELETE_ELEM = 3 "bpf_map_delete_elem",
    PROBE_READ = 4 "bpf_probe_read",
    TRACE_PRINTK = 6 "bpf_trace_printk",
    GET_SMP_PROCESSOR_ID = 8 "bpf_get_smp_processor_id",
    SKB_STORE_BYTES = 9 "bpf_skb_store_bytes",
    L3_CSUM_REPLACE = 10 "bpf_l3_csum_replace",
    L4_CSUM_REPLACE = 11 "bpf_l4_csum_replace",
    TAIL_CALL = 12 "bpf_tail_call",
    CLONE_REDIRECT = 13 "bpf_clone_redirect",
    SKB_VLAN_PUSH = 18 "bpf_skb_vlan_push",
    SKB_VLAN_POP = 19 "bpf_skb_vlan_pop",
    PERF_EVENT_READ = 22 "bpf_perf_event_read",
    PERF_EVENT_OUTPUT = 25 "bpf_perf_event_output",
    GET_STACKID = 27 "bpf_get_stackid",
    SKB_CHANGE_PROTO = 31 "bpf_skb_change_proto",
    SKB_UNDER_CGROUP = 33 "bpf_skb_under_cgroup",
    GET_CURRENT_TASK = 35 "bpf_get_current_task",
    CURRENT_TASK_UNDER_CGROUP = 37 "bpf_current_task_under_cgroup",
    SKB_CHANGE_TAIL = 38 "bpf_skb_change_tail",
    SKB_PULL_DATA = 39 "bpf_skb_pull_data",
    SKB_CHANGE_HEAD = 43 "bpf_skb_change_head",
    XDP_ADJUST_HEAD = 44 "bpf_xdp_adjust_head",
    PROBE_READ_STR = 45 "bpf_probe_read_str",
    SKB_ADJUST_ROOM = 50 "bpf_skb_adjust_room",
    REDIRECT_MAP = 51 "bpf_redirect_map",
    SK_REDIRECT_MAP = 52 "bpf_sk_redirect_map",
    SOCK_MAP_UPDATE = 53 "bpf_sock_map_update",
    XDP_ADJUST_META = 54 "bpf_xdp_adjust_meta",
    PERF_EVENT_READ_VALUE = 55 "bpf_perf_event_read_value",
    MSG_REDIRECT_MAP = 60 "bpf_msg_redirect_map",
    MSG_PULL_DATA = 63 "bpf_msg_pull_data",
    XDP_ADJUST_TAIL = 65 "bpf_xdp_adjust_tail",
    GET_STACK = 67 "bpf_get_stack",
    SOCK_HASH_UPDATE = 70 "bpf_sock_hash_update",
    MSG_REDIRECT_HASH = 71 "bpf_msg_redirect_hash",
    SK_REDIRECT_HASH = 72 "bpf_sk_redirect_hash",
    LWT_PUSH_ENCAP = 73 "bpf_lwt_push_encap",
    LWT_SEG6_STORE_BYTES = 74 "bpf_lwt_seg6_store_bytes",
    LWT_SEG6_ADJUST_SRH = 75 "bpf_lwt_seg6_adjust_srh",
    LWT_SEG6_ACTION = 76 "bpf_lwt_seg6_action",
    GET_LOCAL_STORAGE = 81 "bpf_get_local_storage",
    SK_SELECT_REUSEPORT = 82 "bpf_sk_select_reuseport",
    SK_LOOKUP_TCP = 84 "bpf_sk_lookup_tcp",
    SK_LOOKUP_UDP = 85 "bpf_sk_lookup_udp",
    SK_RELEASE = 86 "bpf_sk_release",
    MAP_PUSH_ELEM = 87 "bpf_map_push_elem",
    MAP_POP_ELEM = 88 "bpf_map_pop_elem",
    MAP_PEEK_ELEM = 89 "bpf_map_peek_elem",
    MSG_PUSH_DATA = 90 "bpf_msg_push_data",
    MSG_POP_DATA = 91 "bpf_msg_pop_data",
    SPIN_LOCK = 93 "bpf_spin_lock",
    SPIN_UNLOCK = 94 "bpf_spin_unlock",
    SK_FULLSOCK = 95 "bpf_sk_fullsock",
    TCP_SOCK = 96 "bpf_tcp_sock",
    SKC_LOOKUP_TCP = 99 "bpf_skc_lookup_tcp",
    SK_STORAGE_GET = 107 "bpf_sk_storage_get",
    SK_STORAGE_DELETE = 108 "bpf_sk_storage_delete",
    SKB_OUTPUT = 111 "bpf_skb_output",
    PROBE_READ_USER_STR = 114 "bpf_probe_read_user_str",
    PROBE_READ_KERNEL_STR = 115 "bpf_probe_read_kernel_str",
    XDP_OUTPUT = 121 "bpf_xdp_output",
    RINGBUF_OUTPUT = 130 "bpf_ringbuf_output",
    RINGBUF_RESERVE = 131 "bpf_ringbuf_reserve",
    RINGBUF_SUBMIT = 132 "bpf_ringbuf_submit",
    RINGBUF_DISCARD = 133 "bpf_ringbuf_discard",
    RINGBUF_QUERY = 134 "bpf_ringbuf_query",
    SKC_TO_TCP6_SOCK = 136 "bpf_skc_to_tcp6_sock",
    SKC_TO_TCP_SOCK = 137 "bpf_skc_to_tcp_sock",
    SKC_TO_TCP_TIMEWAIT_SOCK = 138 "bpf_skc_to_tcp_timewait_sock",
    SKC_TO_TCP_REQUEST_SOCK = 139 "bpf_skc_to_tcp_request_sock",
    SKC_TO_UDP6_SOCK = 140 "bpf_skc_to_udp6_sock",
    GET_TASK_STACK = 141 "bpf_get_task_stack",
    STORE_HDR_OPT = 143 "bpf_store_hdr_opt",
    INODE_STORAGE_GET = 145 "bpf_inode_storage_get",
    INODE_STORAGE_DELETE = 146 "bpf_inode_storage_delete",
    PER_CPU_PTR = 153 "bpf_per_cpu_ptr",
    THIS_CPU_PTR = 154 "bpf_this_cpu_ptr",
    TASK_STORAGE_GET = 156 "bpf_task_storage_get",
    TASK_STORAGE_DELETE = 157 "bpf_task_storage_delete",
    GET_CURRENT_TASK_BTF = 158 "bpf_get_current_task_btf",
    FOR_EACH_MAP_ELEM = 164 "bpf_for_each_map_elem",
    SNPRINTF = 165 "bpf_snprintf",
    TIMER_INIT = 169 "bpf_timer_init",
    TIMER_SET_CALLBACK = 170 "bpf_timer_set_callback",
    TIMER_START = 171 "bpf_timer_start",
    TIMER_CANCEL = 172 "bpf_timer_cancel",
    GET_FUNC_IP = 173 "bpf_get_func_ip",
    FIND_VMA = 180 "bpf_find_vma",
    LOOP = 181 "bpf_loop",
    SET_RETVAL = 187 "bpf_set_retval",
    KPTR_XCHG = 194 "bpf_kptr_xchg",
    MAP_LOOKUP_PERCPU_ELEM = 195 "bpf_map_lookup_percpu_elem",
    SKC_TO_MPTCP_SOCK = 196 "bpf_skc_to_mptcp_sock",
    DYNPTR_FROM_MEM = 197 "bpf_dynptr_from_mem",
    RINGBUF_RESERVE_DYNPTR = 198 "bpf_ringbuf_reserve_dynptr",
    RINGBUF_SUBMIT_DYNPTR = 199 "bpf_ringbuf_submit_dynptr",
    RINGBUF_DISCARD_DYNPTR = 200 "bpf_ringbuf_discard_dynptr",
    DYNPTR_READ = 201 "bpf_dynptr_read",
    DYNPTR_WRITE = 202 "bpf_dynptr_write",
    DYNPTR_DATA = 203 "bpf_dynptr_data",
    USER_RINGBUF_DRAIN = 209 "bpf_user_ringbuf_drain",
    CGRP_STORAGE_GET = 210 "bpf_cgrp_storage_get",
    CGRP_STORAGE_DELETE = 211 "bpf_cgrp_storage_delete",
}

/// Helpers after which packet pointers are void (`bpf_helper_changes_pkt_data`); a tail-called
/// program may do any of it.
pub const CHANGES_PKT_DATA: &[i32] = &[
    CLONE_REDIRECT,
    L3_CSUM_REPLACE,
    L4_CSUM_REPLACE,
    LWT_PUSH_ENCAP,
    LWT_SEG6_ACTION,
    LWT_SEG6_ADJUST_SRH,
    LWT_SEG6_STORE_BYTES,
    MSG_POP_DATA,
    MSG_PULL_DATA,
    MSG_PUSH_DATA,
    SKB_ADJUST_ROOM,
    SKB_CHANGE_HEAD,
    SKB_CHANGE_PROTO,
    SKB_CHANGE_TAIL,
    SKB_PULL_DATA,
    SKB_STORE_BYTES,
    SKB_VLAN_POP,
    SKB_VLAN_PUSH,
    STORE_HDR_OPT,
    XDP_ADJUST_HEAD,
    XDP_ADJUST_META,
    XDP_ADJUST_TAIL,
    TAIL_CALL,
];

/// True if packet pointers do not survive the helper.
pub fn changes_pkt_data(id: i32) -> bool {
    CHANGES_PKT_DATA.contains(&id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_have_the_names_of_the_helper_table() {
        for (id, name) in super::ALL {
            assert_eq!(crate::helper::func_id_name(*id), *name);
        }
    }
}
