//! Facts about what tracing programs attach to: tracepoints with special arguments, LSM hooks,
//! iterators, functions that must not be traced (6.18.15; a kernel's BTF says which exist).
//!
//! Rows are sorted by name.

use crate::types::{RegBase, RegType, TypeFlags};

/// Raw tracepoints with arguments that may be null (bit 0 of an argument's four bits) or an error
/// pointer (bit 1); argument 0 is the first after `__data` (`raw_tp_null_args`).
#[rustfmt::skip]
const RAW_TP_ARGS: &[(&str, u64)] = &[
    ("afs_flock_ev", 0x10),
    ("afs_make_fs_call", 0x10),
    ("afs_make_fs_call1", 0x10),
    ("afs_make_fs_call2", 0x10),
    ("afs_make_fs_calli", 0x10),
    ("afs_protocol_error", 0x1),
    ("amdgpu_vm_bo_map", 0x1),
    ("amdgpu_vm_bo_unmap", 0x1),
    ("amdtp_packet", 0x100),
    ("binder_transaction", 0x100),
    ("bpf_testmod_test_read", 0x0),
    ("break_lease_block", 0x10),
    ("break_lease_noblock", 0x10),
    ("break_lease_unblock", 0x10),
    ("btree_path_free", 0x100),
    ("cachefiles_io_error", 0x1),
    ("cachefiles_lookup", 0x201),
    ("cachefiles_mark_active", 0x1),
    ("cachefiles_mark_failed", 0x1),
    ("cachefiles_mark_inactive", 0x1),
    ("cachefiles_ondemand_close", 0x1),
    ("cachefiles_ondemand_copen", 0x1),
    ("cachefiles_ondemand_cread", 0x1),
    ("cachefiles_ondemand_fd_release", 0x1),
    ("cachefiles_ondemand_fd_write", 0x1),
    ("cachefiles_ondemand_open", 0x1),
    ("cachefiles_ondemand_read", 0x1),
    ("cachefiles_prep_read", 0x1),
    ("cachefiles_rename", 0x1),
    ("cachefiles_unlink", 0x1),
    ("cachefiles_vfs_error", 0x1),
    ("cfg80211_inform_bss_frame", 0x100),
    ("cfg80211_michael_mic_failure", 0x10000),
    ("cfg80211_report_wowlan_wakeup", 0x100),
    ("cfg80211_scan_done", 0x11),
    ("coda_dec_pic_done", 0x10),
    ("coda_dec_pic_run", 0x10),
    ("device_pm_callback_start", 0x10),
    ("dpu_crtc_setup_mixer", 0x100),
    ("ext4_mballoc_discard", 0x10),
    ("ext4_mballoc_free", 0x10),
    ("fcntl_setlk", 0x10),
    ("fib_table_lookup", 0x100),
    ("flock_lock_inode", 0x10),
    ("folio_wait_writeback", 0x10),
    ("generic_delete_lease", 0x10),
    ("hfi1_sdma_progress", 0x1000),
    ("host1x_cdma_push_gather", 0x10000),
    ("hugetlbfs_alloc_inode", 0x10),
    ("iptfs_ingress_postq_event", 0x1000),
    ("kfree_skb", 0x1000),
    ("kvm_page_fault_enter", 0x100),
    ("locks_remove_posix", 0x10),
    ("mm_collapse_huge_page_isolate", 0x1),
    ("mm_khugepaged_collapse_file", 0x10),
    ("mm_khugepaged_scan_file", 0x10),
    ("mm_khugepaged_scan_pmd", 0x10),
    ("mm_page_alloc", 0x1),
    ("mm_page_alloc_zone_locked", 0x1),
    ("mm_page_pcpu_drain", 0x1),
    ("mr_integ_alloc", 0x2000),
    ("neigh_update", 0x10),
    ("netfs_failure", 0x10),
    ("netfs_folioq", 0x1),
    ("nfs4_inode_callback_event", 0x200),
    ("nfs4_inode_stateid_callback_event", 0x200),
    ("nfs4_setup_sequence", 0x1),
    ("nfsd_dirent", 0x1),
    ("nfsd_file_acquire", 0x1001),
    ("nfsd_file_cons_err", 0x1),
    ("nfsd_file_insert_err", 0x1),
    ("pnfs_mds_fallback_pg_get_mirror_count", 0x10000),
    ("pnfs_mds_fallback_pg_init_read", 0x10000),
    ("pnfs_mds_fallback_pg_init_write", 0x10000),
    ("pnfs_mds_fallback_read_done", 0x10000),
    ("pnfs_mds_fallback_read_pagelist", 0x10000),
    ("pnfs_mds_fallback_write_done", 0x10000),
    ("pnfs_mds_fallback_write_pagelist", 0x10000),
    ("pnfs_update_layout", 0x10000),
    ("posix_lock_inode", 0x10),
    ("qdisc_dequeue", 0x1000),
    ("rdev_set_coalesce", 0x10),
    ("rxrpc_client", 0x1),
    ("rxrpc_recvdata", 0x1),
    ("rxrpc_resend", 0x10),
    ("rxrpc_tq", 0x10),
    ("sched_pi_setprio", 0x10),
    ("sched_stick_numa", 0x100),
    ("sched_swap_numa", 0x100),
    ("spufs_context", 0x10),
    ("tcp_send_reset", 0x11),
    ("tcp_sendmsg_locked", 0x100),
    ("tegra_dma_tx_status", 0x100),
    ("time_out_leases", 0x10),
    ("tmigr_update_events", 0x1),
    ("wiphy_work_cancel", 0x10),
    ("wiphy_work_flush", 0x10),
    ("wiphy_work_queue", 0x10),
    ("wiphy_work_run", 0x10),
    ("writeback_dirty_folio", 0x10),
    ("xchk_metapath_lookup", 0x100),
    ("xchk_nlinks_live_update", 0x10),
    ("xfs_blockgc_flush_all", 0x1),
    ("xfs_blockgc_free_space", 0x10),
    ("xfs_blockgc_start", 0x1),
    ("xfs_blockgc_stop", 0x1),
    ("xfs_blockgc_worker", 0x1),
    ("xfs_btree_overlapped_query_range", 0x100),
    ("xfs_btree_updkeys", 0x100),
    ("xfs_defer_add_item", 0x1),
    ("xfs_defer_cancel_item", 0x1),
    ("xfs_defer_cancel_list", 0x1),
    ("xfs_defer_create_intent", 0x1),
    ("xfs_defer_finish_item", 0x1),
    ("xfs_defer_isolate_paused", 0x1),
    ("xfs_defer_item_pause", 0x1),
    ("xfs_defer_item_unpause", 0x1),
    ("xfs_defer_pending_abort", 0x1),
    ("xfs_defer_pending_finish", 0x1),
    ("xfs_defer_relog_intent", 0x1),
    ("xfs_fs_sync_fs", 0x1),
    ("xfs_inodegc_flush", 0x1),
    ("xfs_inodegc_push", 0x1),
    ("xfs_inodegc_queue", 0x1),
    ("xfs_inodegc_start", 0x1),
    ("xfs_inodegc_stop", 0x1),
    ("xfs_inodegc_throttle", 0x1),
    ("xfs_ioc_free_eofblocks", 0x10),
    ("xfs_iomap_alloc", 0x1000),
    ("xfs_iomap_found", 0x1000),
    ("xfs_map_blocks_alloc", 0x10000),
    ("xfs_map_blocks_found", 0x10000),
    ("xprt_get_cong", 0x10),
    ("xprt_put_cong", 0x10),
    ("xprt_release_cong", 0x10),
    ("xprt_reserve_cong", 0x10),
    ("xs_stream_read_data", 0x1),
];

/// What is known of a raw tracepoint's argument.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RawTpArg {
    pub may_be_null: bool,
    pub may_be_error: bool,
}

/// Special treatment of argument `arg`; None for a tracepoint without a row.
pub fn raw_tp_arg(tracepoint: &str, arg: u32) -> Option<RawTpArg> {
    let i = RAW_TP_ARGS.binary_search_by(|(n, _)| (*n).cmp(tracepoint)).ok()?;
    let bits = RAW_TP_ARGS[i].1.checked_shr(4 * arg).unwrap_or(0);
    Some(RawTpArg { may_be_null: bits & 1 != 0, may_be_error: bits & 2 != 0 })
}

/// Hooks whose arguments are not fully set up or torn down (`untrusted_lsm_hooks`).
#[rustfmt::skip]
const LSM_UNTRUSTED: &[&str] = &[
    "bpf_lsm_bpf_map_free",
    "bpf_lsm_bpf_prog_free",
    "bpf_lsm_file_alloc_security",
    "bpf_lsm_file_free_security",
    "bpf_lsm_sk_alloc_security",
    "bpf_lsm_sk_free_security",
    "bpf_lsm_task_free",
];

/// Hooks that return 0 or 1 (`bool_lsm_hooks`).
#[rustfmt::skip]
const LSM_BOOL: &[&str] = &[
    "bpf_lsm_audit_rule_known",
    "bpf_lsm_inode_xattr_skipcap",
    "bpf_lsm_xfrm_state_pol_flow_match",
];

/// Hooks that programs may not use (`bpf_lsm_disabled_hooks`).
#[rustfmt::skip]
const LSM_DISABLED: &[&str] = &[
    "bpf_lsm_audit_rule_match",
    "bpf_lsm_getprocattr",
    "bpf_lsm_getselfattr",
    "bpf_lsm_inode_copy_up_xattr",
    "bpf_lsm_inode_getsecurity",
    "bpf_lsm_inode_listsecurity",
    "bpf_lsm_inode_need_killpriv",
    "bpf_lsm_ismaclabel",
    "bpf_lsm_key_getsecurity",
    "bpf_lsm_setprocattr",
    "bpf_lsm_vm_enough_memory",
];

/// Hooks that run where sleeping is allowed (`sleepable_lsm_hooks`).
#[rustfmt::skip]
const LSM_SLEEPABLE: &[&str] = &[
    "bpf_lsm_bpf",
    "bpf_lsm_bpf_map",
    "bpf_lsm_bpf_map_create",
    "bpf_lsm_bpf_map_free",
    "bpf_lsm_bpf_prog",
    "bpf_lsm_bpf_prog_free",
    "bpf_lsm_bpf_prog_load",
    "bpf_lsm_bpf_token_capable",
    "bpf_lsm_bpf_token_cmd",
    "bpf_lsm_bpf_token_create",
    "bpf_lsm_bpf_token_free",
    "bpf_lsm_bprm_check_security",
    "bpf_lsm_bprm_committed_creds",
    "bpf_lsm_bprm_committing_creds",
    "bpf_lsm_bprm_creds_for_exec",
    "bpf_lsm_bprm_creds_from_file",
    "bpf_lsm_capget",
    "bpf_lsm_capset",
    "bpf_lsm_cred_prepare",
    "bpf_lsm_file_ioctl",
    "bpf_lsm_file_lock",
    "bpf_lsm_file_open",
    "bpf_lsm_file_post_open",
    "bpf_lsm_file_receive",
    "bpf_lsm_inet_conn_established",
    "bpf_lsm_inode_create",
    "bpf_lsm_inode_free_security",
    "bpf_lsm_inode_getattr",
    "bpf_lsm_inode_getxattr",
    "bpf_lsm_inode_mknod",
    "bpf_lsm_inode_need_killpriv",
    "bpf_lsm_inode_post_removexattr",
    "bpf_lsm_inode_post_setxattr",
    "bpf_lsm_inode_readlink",
    "bpf_lsm_inode_removexattr",
    "bpf_lsm_inode_rename",
    "bpf_lsm_inode_rmdir",
    "bpf_lsm_inode_setattr",
    "bpf_lsm_inode_setxattr",
    "bpf_lsm_inode_symlink",
    "bpf_lsm_inode_unlink",
    "bpf_lsm_kernel_module_request",
    "bpf_lsm_kernel_read_file",
    "bpf_lsm_kernfs_init_security",
    "bpf_lsm_mmap_file",
    "bpf_lsm_netlink_send",
    "bpf_lsm_path_chmod",
    "bpf_lsm_path_chown",
    "bpf_lsm_path_link",
    "bpf_lsm_path_mkdir",
    "bpf_lsm_path_notify",
    "bpf_lsm_path_rename",
    "bpf_lsm_path_rmdir",
    "bpf_lsm_path_symlink",
    "bpf_lsm_path_truncate",
    "bpf_lsm_path_unlink",
    "bpf_lsm_release_secctx",
    "bpf_lsm_sb_alloc_security",
    "bpf_lsm_sb_eat_lsm_opts",
    "bpf_lsm_sb_kern_mount",
    "bpf_lsm_sb_mount",
    "bpf_lsm_sb_remount",
    "bpf_lsm_sb_set_mnt_opts",
    "bpf_lsm_sb_show_options",
    "bpf_lsm_sb_statfs",
    "bpf_lsm_sb_umount",
    "bpf_lsm_settime",
    "bpf_lsm_socket_accept",
    "bpf_lsm_socket_bind",
    "bpf_lsm_socket_connect",
    "bpf_lsm_socket_create",
    "bpf_lsm_socket_getpeername",
    "bpf_lsm_socket_getpeersec_dgram",
    "bpf_lsm_socket_getsockname",
    "bpf_lsm_socket_getsockopt",
    "bpf_lsm_socket_listen",
    "bpf_lsm_socket_post_create",
    "bpf_lsm_socket_recvmsg",
    "bpf_lsm_socket_sendmsg",
    "bpf_lsm_socket_shutdown",
    "bpf_lsm_socket_socketpair",
    "bpf_lsm_syslog",
    "bpf_lsm_task_alloc",
    "bpf_lsm_task_prctl",
    "bpf_lsm_task_setscheduler",
    "bpf_lsm_task_to_inode",
    "bpf_lsm_userns_create",
];

fn listed(set: &[&str], name: &str) -> bool {
    set.binary_search(&name).is_ok()
}

/// `bpf_lsm_is_trusted`, by the function's name (`bpf_lsm_file_open`).
pub fn lsm_is_trusted(hook: &str) -> bool {
    !listed(LSM_UNTRUSTED, hook)
}

/// Inclusive range of a hook's return value (`bpf_lsm_get_retval_range`; not for void hooks).
pub fn lsm_retval_range(hook: &str) -> (i32, i32) {
    /// `MAX_ERRNO`
    const MAX_ERRNO: i32 = 4095;
    if listed(LSM_BOOL, hook) {
        (0, 1)
    } else {
        (-MAX_ERRNO, 0)
    }
}

/// `bpf_lsm_disabled_hooks`
pub fn lsm_is_disabled(hook: &str) -> bool {
    listed(LSM_DISABLED, hook)
}

/// `bpf_lsm_is_sleepable_hook`
pub fn lsm_is_sleepable(hook: &str) -> bool {
    listed(LSM_SLEEPABLE, hook)
}

const OR_NULL: TypeFlags = TypeFlags::PTR_MAYBE_NULL;
const TRUSTED_OR_NULL: TypeFlags =
    TypeFlags(TypeFlags::PTR_MAYBE_NULL.0 | TypeFlags::PTR_TRUSTED.0);
const RDONLY_OR_NULL: TypeFlags = TypeFlags(TypeFlags::PTR_MAYBE_NULL.0 | TypeFlags::MEM_RDONLY.0);

const fn kernel(flags: TypeFlags) -> RegType {
    RegType::with(RegBase::BtfId, flags)
}

const fn buf(flags: TypeFlags) -> RegType {
    RegType::with(RegBase::Buf, flags)
}

/// Members of an iterator's context and the type a load gives (`struct bpf_iter_reg::ctx_arg_info`).
type IterArgs = &'static [(&'static str, RegType)];

#[rustfmt::skip]
const ITERATORS: &[(&str, IterArgs)] = &[
    ("bpf_link", &[("link", kernel(OR_NULL))]),
    ("bpf_map", &[("map", kernel(TRUSTED_OR_NULL))]),
    ("bpf_map_elem", &[("key", buf(RDONLY_OR_NULL)), ("value", buf(OR_NULL))]),
    ("bpf_prog", &[("prog", kernel(OR_NULL))]),
    ("bpf_sk_storage_map", &[("sk", kernel(OR_NULL)), ("value", buf(OR_NULL))]),
    ("cgroup", &[("cgroup", kernel(TRUSTED_OR_NULL))]),
    ("dmabuf", &[("dmabuf", kernel(OR_NULL))]),
    ("ipv6_route", &[("rt", kernel(OR_NULL))]),
    ("kmem_cache", &[("s", kernel(TRUSTED_OR_NULL))]),
    ("ksym", &[("ksym", kernel(OR_NULL))]),
    ("netlink", &[("sk", kernel(OR_NULL))]),
    ("sockmap", &[("key", buf(RDONLY_OR_NULL)), ("sk", kernel(OR_NULL))]),
    ("task", &[("task", kernel(TRUSTED_OR_NULL))]),
    ("task_file", &[("task", kernel(OR_NULL)), ("file", kernel(OR_NULL))]),
    ("task_vma", &[("task", kernel(OR_NULL)), ("vma", kernel(OR_NULL))]),
    ("tcp", &[("sk_common", kernel(TRUSTED_OR_NULL))]),
    ("udp", &[("udp_sk", kernel(TRUSTED_OR_NULL))]),
    ("unix", &[("unix_sk", kernel(OR_NULL))]),
];

/// Typed members of `struct bpf_iter__NAME`; None for an unknown iterator.
pub fn iterator_args(name: &str) -> Option<IterArgs> {
    let i = ITERATORS.binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
    Some(ITERATORS[i].1)
}

/// Functions that tracing would break (`btf_id_deny`), with the configuration symbol each depends on.
#[rustfmt::skip]
const UNTRACEABLE: &[(&str, &str)] = &[
    ("___migrate_enable", "SMP"),
    ("__rcu_read_lock", "PREEMPT_RCU"),
    ("__rcu_read_unlock", "PREEMPT_RCU"),
    ("migrate_disable", "SMP"),
    ("migrate_enable", "SMP"),
    ("preempt_count_add", "DEBUG_PREEMPT"),
    ("preempt_count_sub", "DEBUG_PREEMPT"),
];

/// True if attaching to the function is refused.
pub fn is_untraceable(func: &str, config: &crate::kernel::Config) -> bool {
    UNTRACEABLE.iter().any(|(n, sym)| *n == func && config.has(sym))
}

/// Functions that do not return, so that nothing can run at their exit (`noreturn_deny`).
#[rustfmt::skip]
const NORETURN: &[&str] = &[
    "__ia32_sys_exit",
    "__ia32_sys_exit_group",
    "__kunit_abort",
    "__module_put_and_kthread_exit",
    "__x64_sys_exit",
    "__x64_sys_exit_group",
    "do_exit",
    "do_group_exit",
    "kthread_complete_and_exit",
    "kthread_exit",
    "kunit_try_catch_throw",
    "make_task_dead",
];

/// `noreturn_deny`
pub fn is_noreturn(func: &str) -> bool {
    listed(NORETURN, func)
}

/// Functions registered as modifiable, the symbol without which they are not, and whether the program may sleep
/// (`register_btf_fmodret_id_set`).
#[rustfmt::skip]
const FMOD_RET: &[(&str, Option<&str>, bool)] = &[
    ("bpf_fentry_test1", None, true),
    ("bpf_modify_return_test", None, false),
    ("bpf_modify_return_test2", None, false),
    ("bpf_modify_return_test_tp", None, false),
    ("update_socket_protocol", Some("MPTCP"), false),
];

/// Whether fmod_ret programs may attach to a registered function, and if so whether they may sleep
/// (`btf_kfunc_is_modify_return`).
pub fn fmod_ret(func: &str, config: &crate::kernel::Config) -> Option<bool> {
    let row = FMOD_RET.iter().find(|(n, sym, _)| *n == func && sym.is_none_or(|s| config.has(s)));
    row.map(|(_, _, sleepable)| *sleepable)
}

/// Whether errors may be injected into a function (`within_error_injection_list`); None where only the running kernel
/// knows: the list is made by its linker.
pub fn error_injection(func: &str, config: &crate::kernel::Config) -> Option<bool> {
    const SYSCALLS: [&str; 3] = ["__x64_sys_", "__ia32_sys_", "__arm64_sys_"];
    if !config.has("FUNCTION_ERROR_INJECTION") {
        return Some(false);
    }
    SYSCALLS.iter().any(|p| func.starts_with(p)).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_sorted() {
        assert!(FMOD_RET.is_sorted());
        for set in [LSM_UNTRUSTED, LSM_BOOL, LSM_DISABLED, LSM_SLEEPABLE, NORETURN] {
            assert!(set.is_sorted(), "{set:?}");
        }
        assert!(RAW_TP_ARGS.is_sorted_by_key(|(n, _)| *n));
        assert!(ITERATORS.is_sorted_by_key(|(n, _)| *n));
    }
}
