//! What calls do to values beyond their result.

/// The function's name: `bpf_map_lookup_elem#1` without the number; old kernels' numbers by name.
pub fn name(target: &str) -> &str {
    let name = target.split('#').next().unwrap_or(target).trim();
    match name {
        "1" => "bpf_map_lookup_elem",
        "2" => "bpf_map_update_elem",
        "4" => "bpf_probe_read",
        "14" => "bpf_get_current_pid_tgid",
        "16" => "bpf_get_current_comm",
        "25" => "bpf_perf_event_output",
        "26" => "bpf_skb_load_bytes",
        "45" => "bpf_probe_read_str",
        _ => name,
    }
}

/// Helpers after which the packet may be elsewhere.
const MOVE_PACKETS: &[&str] = &[
    "bpf_skb_store_bytes",
    "bpf_l3_csum_replace",
    "bpf_l4_csum_replace",
    "bpf_clone_redirect",
    "bpf_skb_vlan_push",
    "bpf_skb_vlan_pop",
    "bpf_skb_change_proto",
    "bpf_skb_change_tail",
    "bpf_skb_change_head",
    "bpf_skb_adjust_room",
    "bpf_skb_pull_data",
    "bpf_xdp_adjust_head",
    "bpf_xdp_adjust_meta",
    "bpf_xdp_adjust_tail",
    "bpf_msg_pull_data",
    "bpf_msg_push_data",
    "bpf_msg_pop_data",
    "bpf_sk_assign",
    "bpf_lwt_push_encap",
    "bpf_lwt_seg6_adjust_srh",
    "bpf_lwt_seg6_store_bytes",
    "bpf_lwt_seg6_action",
    "bpf_store_hdr_opt",
    "bpf_tail_call",
    "bpf_xdp_pull_data",
];

/// True if a call to `name` may turn a pointer of this kind into a number.
pub fn invalidates(name: &str, kind: &str) -> bool {
    if kind.starts_with("pkt") {
        return MOVE_PACKETS.contains(&name) || name.starts_with("pc");
    }
    let releases = ["release", "submit", "discard", "_put", "_drop", "_destroy", "xchg", "_ref_"];
    releases.iter().any(|w| name.contains(w))
        || ["unlock", "_delete", "push_front", "push_back", "rbtree_add", "dynptr"]
            .iter()
            .any(|w| name.contains(w))
        || MOVE_PACKETS.contains(&name) && kind.starts_with("mem")
}

/// True if the call may move the packet.
pub fn moves_packets(name: &str) -> bool {
    MOVE_PACKETS.contains(&name)
}

/// The argument through which a helper writes, and the one that says how much.
pub fn written_argument(name: &str) -> Option<(u8, Option<u8>)> {
    Some(match name {
        "bpf_probe_read"
        | "bpf_probe_read_str"
        | "bpf_probe_read_kernel"
        | "bpf_probe_read_user"
        | "bpf_probe_read_kernel_str"
        | "bpf_probe_read_user_str"
        | "bpf_copy_from_user"
        | "bpf_copy_from_user_str"
        | "bpf_copy_from_user_task"
        | "bpf_get_current_comm"
        | "bpf_snprintf"
        | "bpf_dynptr_read"
        | "bpf_sysctl_get_name" => (1, Some(2)),
        "bpf_skb_load_bytes" | "bpf_xdp_load_bytes" | "bpf_skb_load_bytes_relative" => (3, Some(4)),
        "bpf_get_stack"
        | "bpf_skb_get_tunnel_key"
        | "bpf_skb_get_xfrm_state"
        | "bpf_d_path"
        | "bpf_perf_prog_read_value"
        | "bpf_perf_event_read_value"
        | "bpf_skb_get_tunnel_opt"
        | "bpf_fib_lookup"
        | "bpf_read_branch_records" => (2, Some(3)),
        "bpf_getsockopt" => (4, Some(5)),
        "bpf_strtol" | "bpf_strtoul" => (4, None),
        "bpf_map_pop_elem" | "bpf_map_peek_elem" => (2, None),
        _ => return None,
    })
}

/// The caller's register that becomes argument `r` of the callback.
pub fn callback_argument(name: &str, r: u8) -> Option<u8> {
    match (name, r) {
        ("bpf_loop", 2) => Some(3),
        ("bpf_for_each_map_elem", 4) => Some(3),
        ("bpf_for_each_map_elem", 1) => Some(1),
        ("bpf_find_vma", 3) => Some(4),
        ("bpf_user_ringbuf_drain", 2) => Some(3),
        _ => None,
    }
}
