//! What the tables need to know about a program: type, attach type, hook, sleepable, capabilities.

use crate::uapi::{AttachType, ProgType};

/// Capabilities of whoever loads (`bpf_token_capable`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    pub bpf: bool,
    pub perfmon: bool,
    pub net_admin: bool,
    pub sys_admin: bool,
}

impl Caps {
    /// Root.
    pub const ALL: Caps = Caps { bpf: true, perfmon: true, net_admin: true, sys_admin: true };
    /// An ordinary user.
    pub const NONE: Caps = Caps { bpf: false, perfmon: false, net_admin: false, sys_admin: false };
}

/// A program as the tables see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgKind<'a> {
    /// The resolved type: an `ext` program has its target's.
    pub prog_type: ProgType,
    /// `expected_attach_type`; None counts as the kernel's 0 (as for struct_ops, whose number is a member index).
    pub attach_type: Option<AttachType>,
    pub sleepable: bool,
    /// LSM hook (`bpf_lsm_file_open`), iterator (`bpf_iter_tcp`), traced function or tracepoint,
    /// or struct_ops member (`tcp_congestion_ops.release`).
    pub hook: Option<&'a str>,
    pub caps: Caps,
}

impl<'a> ProgKind<'a> {
    /// Loaded by root, not sleepable, no hook.
    pub fn new(prog_type: ProgType, attach_type: Option<AttachType>) -> ProgKind<'a> {
        ProgKind { prog_type, attach_type, sleepable: false, hook: None, caps: Caps::ALL }
    }

    /// `expected_attach_type` as the kernel compares it: 0 is `BPF_CGROUP_INET_INGRESS`.
    pub fn attach(&self) -> AttachType {
        self.attach_type.unwrap_or(AttachType::CgroupInetIngress)
    }

    /// `bpf_prog_has_trampoline` (`kernel/bpf/trampoline.c`).
    pub fn has_trampoline(&self) -> bool {
        match self.prog_type {
            ProgType::Tracing => {
                matches!(
                    self.attach(),
                    AttachType::TraceFentry | AttachType::TraceFexit | AttachType::ModifyReturn
                )
            }
            ProgType::Lsm => self.attach() == AttachType::LsmMac,
            _ => false,
        }
    }

    /// `bpf_prog_check_recur` as it answers while instructions are checked: the private stack of
    /// struct_ops programs is decided later.
    pub fn checks_recursion(&self) -> bool {
        match self.prog_type {
            ProgType::Tracing => self.attach() != AttachType::TraceIter,
            ProgType::StructOps | ProgType::Lsm | ProgType::Syscall => false,
            _ => true,
        }
    }
}
