//! Program types, and what the tables need to know about a program.
//!
//! Mirrors `include/linux/bpf_types.h`, the load-time checks of `kernel/bpf/syscall.c` and
//! `check_return_code` of the verifier.  Rows come from `data/progs.toml`.

use crate::callers::Test;
use crate::generated::progs::PROGS;
use crate::kernel::Kernel;
use crate::release::Span;
use crate::uapi::{AttachType, ProgType};

/// Capabilities of whoever loads (`bpf_token_capable`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    pub bpf: bool,
    pub perfmon: bool,
    pub net_admin: bool,
    pub sys_admin: bool,
}

impl Default for Caps {
    /// Root.
    fn default() -> Caps {
        Caps::ALL
    }
}

impl Caps {
    /// Root.
    pub const ALL: Caps = Caps { bpf: true, perfmon: true, net_admin: true, sys_admin: true };
    /// An ordinary user.
    pub const NONE: Caps = Caps { bpf: false, perfmon: false, net_admin: false, sys_admin: false };

    /// Those of both.
    pub fn union(self, other: Caps) -> Caps {
        Caps {
            bpf: self.bpf || other.bpf,
            perfmon: self.perfmon || other.perfmon,
            net_admin: self.net_admin || other.net_admin,
            sys_admin: self.sys_admin || other.sys_admin,
        }
    }

    /// `all`, `none`, or `bpf`, `net` and `perfmon` joined by `+`; None for anything else.
    pub fn parse(text: &str) -> Option<Caps> {
        match text {
            "all" => return Some(Caps::ALL),
            "none" => return Some(Caps::NONE),
            _ => {}
        }
        let mut caps = Caps::NONE;
        for name in text.split('+') {
            *match name {
                "bpf" => &mut caps.bpf,
                "net" => &mut caps.net_admin,
                "perfmon" => &mut caps.perfmon,
                _ => return None,
            } = true;
        }
        Some(caps)
    }
}

/// Licences with which GPL-only helpers and kfuncs may be called (`license_is_gpl_compatible`).
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// Whether a program under this licence may call GPL-only functions.
pub fn is_gpl_compatible(license: &str) -> bool {
    GPL_COMPATIBLE.contains(&license)
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
                    AttachType::TraceFentry
                        | AttachType::TraceFexit
                        | AttachType::ModifyReturn
                        | AttachType::TraceFsession
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

/// Direct packet access (`may_access_direct_pkt_data`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketAccess {
    None,
    Read,
    Write,
    /// The value of a socket option: everything is allowed, also through helpers.
    OptVal,
}

/// Updating maps of sockets (`may_update_sockmap`).
#[derive(Clone, Copy, Debug)]
pub enum SockmapUse {
    No,
    Yes,
    /// `bpf_map_delete_elem` only.
    Delete,
    If(&'static [(bool, Test)]),
}

/// A type that stands for the context beside its own where a parameter says it is the context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CtxAlso {
    Struct(&'static str),
    /// An integer of 8 bytes.
    U64,
    /// `struct bpf_iter__NAME`.
    Iter,
    Any,
}

/// How the input of a run becomes the program's context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunInput {
    /// A frame as an skb.
    Skb {
        /// The program sees the link header.
        link: bool,
        /// Packet pointers are ready.
        direct: bool,
    },
    Xdp,
    Flow,
    SkLookup,
    Netfilter,
    RawTp,
    Syscall,
    /// The context as it is given.
    Bytes,
}

/// What `BPF_PROG_RUN` runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestRun {
    Program,
    /// Functions of the kernel that programs of this type are attached to.
    Kernel,
}

/// Whether a program may be loaded with `BPF_F_SLEEPABLE` (`can_be_sleepable`).
#[derive(Clone, Copy, Debug)]
pub enum Sleepable {
    May,
    /// One of the conditions holds; none means no.
    MayIf(&'static [&'static [(bool, Test)]]),
    /// "Syscall programs can only be sleepable".
    Must,
}

/// What a program may return (`check_return_code`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnRule {
    Any,
    /// Both ends inclusive.  A value within `enforce` ties the program to its attach type.
    Range {
        min: i32,
        max: i32,
        enforce: Option<(i32, i32)>,
    },
    /// The kernel refuses with ENOTSUPP and no message.
    NotSupported,
    /// Nothing for a void hook, else [`crate::lsm::return_range`].
    Lsm,
    /// 1 for a void hook, else 0 or 1.
    LsmCgroup,
    /// Nothing for a void member; 0 (or the reference) for a pointer; else anything.
    StructOps,
}

/// A program type.
#[derive(Clone, Copy, Debug)]
pub struct ProgInfo {
    pub prog_type: ProgType,
    /// Stem of the kernel's `*_verifier_ops`.
    pub ops: &'static str,
    /// C type of the context as programs see it, and as the kernel does.
    pub ctx: &'static str,
    pub kern_ctx: &'static str,
    /// Configuration symbols without which the type is unknown.
    pub config: &'static [&'static str],
    /// Loading needs CAP_NET_ADMIN, CAP_PERFMON.
    pub net_admin: bool,
    pub perfmon: bool,
    /// May be loaded without CAP_BPF.
    pub unprivileged: bool,
    /// Allowed expected attach types; empty means any.
    pub attach: &'static [AttachType],
    /// What an expected attach type of 0 is taken for.
    pub attach_zero: Option<AttachType>,
    pub packet: PacketAccess,
    pub sleepable: Sleepable,
    /// First match wins; none means any.
    pub returns: &'static [(&'static [(bool, Test)], ReturnRule)],
    /// Loads from the context become others (`convert_ctx_access`).
    pub rewrites_ctx: bool,
    /// LD_ABS and LD_IND (`may_access_skb`).
    pub skb_loads: bool,
    /// May take no lock and use no timer (`is_tracing_prog_type`).
    pub perf_like: bool,
    /// None: gets no private stack whatever the JIT can (`bpf_enable_priv_stack`).
    pub private_stack: Option<&'static [(bool, Test)]>,
    /// Attached by BTF id.
    pub attaches_by_btf: bool,
    pub sockmap: SockmapUse,
    /// May write fields of connections (`nf_conn`).
    pub writes_conntrack: bool,
    pub ctx_also: &'static [(&'static [(bool, Test)], CtxAlso)],
    pub input: RunInput,
    /// None where `BPF_PROG_RUN` gives ENOTSUPP.
    pub test_run: Option<TestRun>,
    /// The context holds no pointer that a program follows unasked.
    pub plain_ctx: bool,
    pub span: Span,
}

impl ProgInfo {
    pub fn all() -> &'static [ProgInfo] {
        &PROGS
    }

    /// Conditions of all its columns.
    pub(crate) fn conditions(&'static self) -> impl Iterator<Item = &'static [(bool, Test)]> {
        let sleepable = match self.sleepable {
            Sleepable::MayIf(any) => any,
            _ => &[],
        };
        let sockmap = match self.sockmap {
            SockmapUse::If(tests) => Some(tests),
            _ => None,
        };
        let returns = self.returns.iter().map(|(tests, _)| *tests);
        let also = self.ctx_also.iter().map(|(tests, _)| *tests);
        sleepable
            .iter()
            .copied()
            .chain(self.private_stack)
            .chain(sockmap)
            .chain(returns)
            .chain(also)
    }

    /// What does not depend on the kernel; None for `unspec`.
    pub fn of(prog_type: ProgType) -> Option<&'static ProgInfo> {
        PROGS.iter().find(|p| p.prog_type == prog_type)
    }

    /// The expected attach type that the kernel goes on with, or None where it refuses with EINVAL
    /// (`bpf_prog_load_fixup_attach_type`, `bpf_prog_load_check_attach`).
    pub fn effective_attach(&self, given: Option<AttachType>) -> Option<AttachType> {
        let given = given.unwrap_or(AttachType::CgroupInetIngress);
        let attach = match self.attach_zero {
            Some(zero) if given == AttachType::CgroupInetIngress => zero,
            _ => given,
        };
        (self.attach.is_empty() || self.attach.contains(&attach)).then_some(attach)
    }
}

impl Kernel {
    /// The row of a program type that this kernel's release has, whatever its configuration.
    pub fn prog(&self, prog_type: ProgType) -> Option<&'static ProgInfo> {
        self.tables.progs.get(prog_type.number() as usize).copied().flatten()
    }

    /// The first configuration symbol that this kernel lacks for a program type; None when it has the type.
    pub fn prog_type_lacks(&self, prog_type: ProgType) -> Option<&'static str> {
        self.prog(prog_type)?.config.iter().copied().find(|c| !self.config.has(c))
    }

    /// What a program of this kind may return (`check_return_code`).
    pub fn return_rule(&self, kind: &ProgKind<'_>) -> ReturnRule {
        let rules = self.prog(kind.prog_type).map_or(&[][..], |p| p.returns);
        let rule = rules.iter().find(|(tests, _)| self.all_hold(kind, tests));
        rule.map_or(ReturnRule::Any, |(_, r)| *r)
    }

    /// Whether `BPF_F_SLEEPABLE` is allowed (`can_be_sleepable`).
    pub fn may_be_sleepable(&self, kind: &ProgKind<'_>) -> bool {
        match self.prog(kind.prog_type).map(|p| p.sleepable) {
            None => false,
            Some(Sleepable::May | Sleepable::Must) => true,
            Some(Sleepable::MayIf(any)) => any.iter().any(|tests| self.all_hold(kind, tests)),
        }
    }

    /// Whether the program may get a private stack where the JIT can (`bpf_enable_priv_stack`).
    pub fn may_have_private_stack(&self, kind: &ProgKind<'_>) -> bool {
        let tests = self.prog(kind.prog_type).and_then(|p| p.private_stack);
        self.jit.private_stack && tests.is_some_and(|t| self.all_hold(kind, t))
    }

    /// Whether the program may update (or delete) elements of a map of sockets with the generic helper
    /// (`may_update_sockmap`).
    pub fn may_update_sockmap(&self, kind: &ProgKind<'_>, deletes: bool) -> bool {
        match self.prog(kind.prog_type).map_or(SockmapUse::No, |p| p.sockmap) {
            SockmapUse::No => false,
            SockmapUse::Yes => true,
            SockmapUse::Delete => deletes,
            SockmapUse::If(tests) => self.all_hold(kind, tests),
        }
    }

    /// Types that stand for the context of such a program beside its own.
    pub fn ctx_also<'k>(&'k self, kind: &'k ProgKind<'k>) -> impl Iterator<Item = CtxAlso> + 'k {
        let rows = self.prog(kind.prog_type).map_or(&[][..], |p| p.ctx_also);
        rows.iter().filter(|(tests, _)| self.all_hold(kind, tests)).map(|(_, ty)| *ty)
    }
}
