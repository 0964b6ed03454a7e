//! Kernel functions that programs may call: flags, and who may call them.
//!
//! Mirrors the `BTF_KFUNCS_START` sets, their registrations and filters, and
//! `btf_kfunc_id_set_contains` of `kernel/bpf/btf.c`.  Prototypes come from BTF.
//! Rows come from `data/kfuncs.toml`.

use crate::callers::Test;
use crate::generated::kfuncs::{KFUNCS, SETS};
use crate::kernel::Kernel;
use crate::prog::ProgKind;
use crate::uapi::ProgType;

/// `KF_…` flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KfuncFlags(pub u32);

impl KfuncFlags {
    pub const ACQUIRE: KfuncFlags = KfuncFlags(1);
    pub const RELEASE: KfuncFlags = KfuncFlags(1 << 1);
    pub const RET_NULL: KfuncFlags = KfuncFlags(1 << 2);
    pub const TRUSTED_ARGS: KfuncFlags = KfuncFlags(1 << 4);
    pub const SLEEPABLE: KfuncFlags = KfuncFlags(1 << 5);
    pub const DESTRUCTIVE: KfuncFlags = KfuncFlags(1 << 6);
    pub const RCU: KfuncFlags = KfuncFlags(1 << 7);
    pub const ITER_NEW: KfuncFlags = KfuncFlags(1 << 8);
    pub const ITER_NEXT: KfuncFlags = KfuncFlags(1 << 9);
    pub const ITER_DESTROY: KfuncFlags = KfuncFlags(1 << 10);
    pub const RCU_PROTECTED: KfuncFlags = KfuncFlags(1 << 11);
    pub const FASTCALL: KfuncFlags = KfuncFlags(1 << 12);
    pub const ARENA_RET: KfuncFlags = KfuncFlags(1 << 13);
    pub const ARENA_ARG1: KfuncFlags = KfuncFlags(1 << 14);
    pub const ARENA_ARG2: KfuncFlags = KfuncFlags(1 << 15);
    /// Further arguments are filled in; the prototype is that of the function with `_impl` behind its name.
    pub const IMPLICIT_ARGS: KfuncFlags = KfuncFlags(1 << 16);
    /// May be called with a spin lock held.
    pub const SPINLOCK_SAFE: KfuncFlags = KfuncFlags(1 << 17);
    pub const PERFMON: KfuncFlags = KfuncFlags(1 << 18);

    /// Every flag with its kernel name.
    pub const NAMES: &'static [(&'static str, KfuncFlags)] = &[
        ("KF_ACQUIRE", KfuncFlags::ACQUIRE),
        ("KF_RELEASE", KfuncFlags::RELEASE),
        ("KF_RET_NULL", KfuncFlags::RET_NULL),
        ("KF_TRUSTED_ARGS", KfuncFlags::TRUSTED_ARGS),
        ("KF_SLEEPABLE", KfuncFlags::SLEEPABLE),
        ("KF_DESTRUCTIVE", KfuncFlags::DESTRUCTIVE),
        ("KF_RCU", KfuncFlags::RCU),
        ("KF_ITER_NEW", KfuncFlags::ITER_NEW),
        ("KF_ITER_NEXT", KfuncFlags::ITER_NEXT),
        ("KF_ITER_DESTROY", KfuncFlags::ITER_DESTROY),
        ("KF_RCU_PROTECTED", KfuncFlags::RCU_PROTECTED),
        ("KF_FASTCALL", KfuncFlags::FASTCALL),
        ("KF_ARENA_RET", KfuncFlags::ARENA_RET),
        ("KF_ARENA_ARG1", KfuncFlags::ARENA_ARG1),
        ("KF_ARENA_ARG2", KfuncFlags::ARENA_ARG2),
        ("KF_IMPLICIT_ARGS", KfuncFlags::IMPLICIT_ARGS),
        ("KF_SPINLOCK_SAFE", KfuncFlags::SPINLOCK_SAFE),
        ("KF_PERFMON", KfuncFlags::PERFMON),
    ];

    /// By the kernel's name (`KF_ACQUIRE`).
    pub fn from_name(name: &str) -> Option<KfuncFlags> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }

    /// Kernel names of the flags set.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, f)| self.has(*f)).map(|(n, _)| *n).collect()
    }

    /// True if any flag of `other` is set.
    pub const fn has(self, other: KfuncFlags) -> bool {
        self.0 & other.0 != 0
    }
}

/// `enum btf_kfunc_hook`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KfuncHook {
    Common,
    Xdp,
    Tc,
    StructOps,
    Tracing,
    Syscall,
    Fmodret,
    Cgroup,
    SchedAct,
    SkSkb,
    SocketFilter,
    Lwt,
    Netfilter,
    Kprobe,
}

impl KfuncHook {
    /// `bpf_prog_type_to_kfunc_hook`; None where only common kfuncs are open.
    pub fn of(prog_type: ProgType) -> Option<KfuncHook> {
        Some(match prog_type {
            ProgType::Unspec => KfuncHook::Common,
            ProgType::Xdp => KfuncHook::Xdp,
            ProgType::SchedCls => KfuncHook::Tc,
            ProgType::StructOps => KfuncHook::StructOps,
            ProgType::Tracing | ProgType::Tracepoint | ProgType::PerfEvent | ProgType::Lsm => {
                KfuncHook::Tracing
            }
            ProgType::Syscall => KfuncHook::Syscall,
            ProgType::CgroupSkb
            | ProgType::CgroupSock
            | ProgType::CgroupDevice
            | ProgType::CgroupSockAddr
            | ProgType::CgroupSockopt
            | ProgType::CgroupSysctl
            | ProgType::SockOps => KfuncHook::Cgroup,
            ProgType::SchedAct => KfuncHook::SchedAct,
            ProgType::SkSkb => KfuncHook::SkSkb,
            ProgType::SocketFilter => KfuncHook::SocketFilter,
            ProgType::LwtOut | ProgType::LwtIn | ProgType::LwtXmit | ProgType::LwtSeg6local => {
                KfuncHook::Lwt
            }
            ProgType::Netfilter => KfuncHook::Netfilter,
            ProgType::Kprobe => KfuncHook::Kprobe,
            _ => return None,
        })
    }
}

/// A set of kfuncs as it is registered.
#[derive(Clone, Copy, Debug)]
pub struct KfuncSet {
    pub name: &'static str,
    pub source: &'static str,
    /// Configuration symbol without which the set is absent; as a module it comes with that module's BTF.
    pub config: Option<&'static str>,
    pub hooks: &'static [KfuncHook],
}

/// A member of a set; a kfunc may stand in several.
#[derive(Clone, Copy, Debug)]
pub struct Kfunc {
    pub name: &'static str,
    pub flags: KfuncFlags,
    /// Index into the sets.
    pub set: u16,
    /// Configuration and filter.
    pub tests: &'static [(bool, Test)],
}

impl Kfunc {
    /// Every row, by name.
    pub fn all() -> &'static [Kfunc] {
        &KFUNCS
    }

    /// The rows of one name.
    pub fn rows(name: &str) -> &'static [Kfunc] {
        let start = KFUNCS.partition_point(|k| k.name < name);
        let len = KFUNCS
            .get(start..)
            .map_or(0, |rest| rest.iter().take_while(|k| k.name == name).count());
        KFUNCS.get(start..start + len).unwrap_or(&[])
    }

    pub fn set(&self) -> Option<&'static KfuncSet> {
        SETS.get(usize::from(self.set))
    }
}

impl Kernel {
    /// The row by which a program of this kind may call a kfunc (`btf_kfunc_id_set_contains`).
    pub fn kfunc(&self, kind: &ProgKind<'_>, name: &str) -> Option<&'static Kfunc> {
        let hook = match kind.prog_type {
            ProgType::RawTracepoint if self.features.raw_tp_tracing_kfuncs => {
                Some(KfuncHook::Tracing)
            }
            ProgType::SockOps if !self.features.sock_ops_kfuncs => None,
            ProgType::Tracepoint | ProgType::PerfEvent if !self.features.event_kfuncs => None,
            other => KfuncHook::of(other),
        };
        let find = |wanted: KfuncHook| {
            Kfunc::rows(name)
                .iter()
                .find(|k| self.has_kfunc(k, wanted) && self.all_hold(kind, k.tests))
        };
        find(KfuncHook::Common).or_else(|| hook.and_then(find))
    }

    /// The row by which fmod_ret programs may change what a function returns (`btf_kfunc_is_modify_return`).
    pub fn fmod_ret(&self, name: &str) -> Option<&'static Kfunc> {
        Kfunc::rows(name).iter().find(|k| self.has_set(k, KfuncHook::Fmodret))
    }

    fn has_kfunc(&self, kfunc: &Kfunc, hook: KfuncHook) -> bool {
        !self.absent_kfuncs.contains(kfunc.name) && self.has_set(kfunc, hook)
    }

    /// The set is registered for the hook.
    fn has_set(&self, kfunc: &Kfunc, hook: KfuncHook) -> bool {
        let set = kfunc.set();
        set.is_some_and(|s| {
            s.hooks.contains(&hook) && s.config.is_none_or(|c| self.config.is_enabled(c))
        })
    }
}
