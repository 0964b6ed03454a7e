//! What an LSM hook may return, and which helpers depend on the hook.
//!
//! Mirrors `kernel/bpf/bpf_lsm.c` and the `allowed` callbacks of helper prototypes.

use crate::kernel::Kernel;
use crate::prog::ProgKind;
use crate::sets::KernelSet;
use crate::uapi::{AttachType, ProgType};

/// Largest errno (`MAX_ERRNO`).
const MAX_ERRNO: i32 = 4095;

impl Kernel {
    /// What a non-void hook may return, both ends inclusive (`bpf_lsm_get_retval_range`).
    pub fn lsm_return_range(&self, hook: &str) -> (i32, i32) {
        if self.in_set(KernelSet::BoolLsmHooks, hook) {
            (0, 1)
        } else {
            (-MAX_ERRNO, 0)
        }
    }

    /// A prototype's `allowed` callback, by the kernel's name for it; false for an unknown one.
    /// `has_dst_prog`: the program extends or traces another BPF program.
    pub fn helper_allowed(&self, callback: &str, kind: &ProgKind<'_>, has_dst_prog: bool) -> bool {
        let hook = kind.hook.unwrap_or("");
        match callback {
            "bpf_d_path_allowed" => match kind.prog_type {
                ProgType::Tracing if kind.attach() == AttachType::TraceIter => {
                    self.features.iterators_tell_paths
                        || self.in_set(KernelSet::BtfAllowlistDPath, hook)
                }
                ProgType::Lsm => self.in_set(KernelSet::SleepableLsmHooks, hook),
                _ => self.in_set(KernelSet::BtfAllowlistDPath, hook),
            },
            "bpf_ima_inode_hash_allowed" => self.in_set(KernelSet::SleepableLsmHooks, hook),
            "bpf_sk_storage_tracing_allowed" => match kind.attach() {
                _ if has_dst_prog => false,
                AttachType::TraceIter | AttachType::TraceRawTp => true,
                AttachType::TraceFentry | AttachType::TraceFexit | AttachType::TraceFsession => {
                    !hook.starts_with("bpf_sk_storage")
                }
                _ => false,
            },
            _ => false,
        }
    }
}
