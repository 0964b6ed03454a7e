//! What an LSM hook may return, and which helpers depend on the hook.
//!
//! Mirrors `kernel/bpf/bpf_lsm.c` and the `allowed` callbacks of helper prototypes.

use crate::kernel::Kernel;
use crate::prog::ProgKind;
use crate::sets::NameSet;
use crate::uapi::{AttachType, ProgType};

/// Largest errno (`MAX_ERRNO`).
const MAX_ERRNO: i32 = 4095;

/// Range of a non-void hook, both ends inclusive (`bpf_lsm_get_retval_range`); None for a name
/// that is no hook's.
pub fn return_range(hook: &str) -> Option<(i32, i32)> {
    if !hook.starts_with("bpf_lsm_") {
        return None;
    }
    let is_bool = NameSet::by_name("bool_lsm_hooks")?.members.iter().any(|m| m.name == hook);
    Some(if is_bool { (0, 1) } else { (-MAX_ERRNO, 0) })
}

impl Kernel {
    /// A prototype's `allowed` callback, by the kernel's name for it; false for an unknown one.
    /// `has_dst_prog`: the program extends or traces another BPF program.
    pub fn helper_allowed(&self, callback: &str, kind: &ProgKind<'_>, has_dst_prog: bool) -> bool {
        let hook = kind.hook.unwrap_or("");
        match callback {
            "bpf_d_path_allowed" => match kind.prog_type {
                ProgType::Tracing if kind.attach() == AttachType::TraceIter => true,
                ProgType::Lsm => self.in_set("sleepable_lsm_hooks", hook),
                _ => self.in_set("btf_allowlist_d_path", hook),
            },
            "bpf_ima_inode_hash_allowed" => self.in_set("sleepable_lsm_hooks", hook),
            "bpf_sk_storage_tracing_allowed" => match kind.attach() {
                _ if has_dst_prog => false,
                AttachType::TraceIter | AttachType::TraceRawTp => true,
                AttachType::TraceFentry | AttachType::TraceFexit => {
                    !hook.starts_with("bpf_sk_storage")
                }
                _ => false,
            },
            _ => false,
        }
    }
}
