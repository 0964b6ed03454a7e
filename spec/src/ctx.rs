//! Context layouts and access rules: the kernel's `*_is_valid_access` functions as ordered rules.
//!
//! Mirrors `net/core/filter.c`, `kernel/trace/bpf_trace.c`, `kernel/bpf/{cgroup,syscall}.c` and
//! friends.  Knows nothing of BTF: where the kernel asks `btf_ctx_access`, the answer says so.
//! Rows come from `data/ctx/`.

use crate::callers::Test;
use crate::generated::ctx as table;
use crate::kernel::Kernel;
use crate::prog::ProgKind;
use crate::types::{RegBase, RegType};
use crate::uapi::ProgType;

/// `enum bpf_access_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessType {
    Read,
    Write,
}

/// In and out of an access check (`struct bpf_insn_access_aux`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtxAccess {
    /// In: the load sign-extends.
    pub is_ldsx: bool,
    /// Out: what a load leaves in the register.
    pub reg_type: RegType,
    /// Out: whole field that a narrower load is cut from, 0 for none.
    pub ctx_field_size: u32,
    /// Out: kernel struct behind a `PTR_TO_BTF_ID`.
    pub btf_struct: Option<&'static str>,
    /// Out: `btf_ctx_access` has the last word, and sets type and struct.
    pub needs_btf: bool,
    /// Out: a trusted pointer to the first struct becomes one to the second (`bpf_tcp_ca_is_valid_access`).
    pub btf_promote: Option<(&'static str, &'static str)>,
    /// Out: the value is a return value; only `btf_ctx_access` sets it.
    pub is_retval: bool,
    /// Out: the kernel allows this by mistake; the name of the quirk.
    pub quirk: Option<&'static str>,
    /// Out: allowed, and later no conversion is found for it (`convert_ctx_accesses`).
    pub unconverted: bool,
}

impl CtxAccess {
    pub fn new(is_ldsx: bool) -> CtxAccess {
        CtxAccess {
            is_ldsx,
            reg_type: RegType::of(RegBase::Scalar),
            ctx_field_size: 0,
            btf_struct: None,
            needs_btf: false,
            btf_promote: None,
            is_retval: false,
            quirk: None,
            unconverted: false,
        }
    }
}

/// Which accesses a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Any,
    Read,
    Write,
}

/// Where an access must lie for a rule to apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    Any,
    /// Eight bytes, aligned, inside the range (`bpf_ctx_wide_access_ok`).
    Wide,
    /// Ends inside the range.
    Within,
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Deny,
    Allow {
        reg: Option<RegType>,
        field: u8,
        btf: Option<&'static str>,
        quirk: Option<&'static str>,
    },
    /// The field may be read in part (`bpf_ctx_narrow_access_ok`), never more than it.
    Narrow(u8),
    /// The same, of a field for which there is no conversion.
    Unconverted(u8),
    /// The type if a later rule allows the access.
    Set(RegType),
    Goto(u16),
    Btf(Option<(&'static str, &'static str)>),
}

/// Ordered: the first rule that decides wins; nothing decided means deny.
#[derive(Clone, Copy, Debug)]
pub struct CtxRule {
    /// First and last access offset, inclusive.
    pub first: i32,
    pub last: i32,
    /// End of the range, exclusive.
    pub end: i32,
    pub op: Op,
    /// Sizes as a bit set: 1, 2, 4, 8.
    pub sizes: u8,
    pub fit: Fit,
    /// Only for sign-extending loads.
    pub ldsx: bool,
    pub tests: &'static [(bool, Test)],
    pub act: Act,
}

/// One `is_valid_access` function.
#[derive(Clone, Copy, Debug)]
pub struct CtxTable {
    pub name: &'static str,
    pub source: &'static str,
    /// Offsets in `min..max`.
    pub min: i32,
    pub max: i32,
    /// The offset must be a multiple of the size.
    pub aligned: bool,
    /// The access must end within `max`.
    pub whole: bool,
    pub rules: &'static [CtxRule],
}

/// Tables refer on at most this often.
const MAX_DEPTH: usize = 4;

impl Kernel {
    /// Whether a program of this kind may access its context so (`ops->is_valid_access`).
    /// `off` and `size` in bytes; `size` is 1, 2, 4 or 8.
    pub fn ctx_access(
        &self,
        kind: &ProgKind<'_>,
        off: i32,
        size: u32,
        access: AccessType,
        info: &mut CtxAccess,
    ) -> bool {
        match entry(kind) {
            Some(at) => self.walk(kind, at, off, size, access, info, MAX_DEPTH),
            None => false,
        }
    }

    /// Reads through a socket pointer (`check_sock_access`); false for other types.
    pub fn sock_access(&self, base: RegBase, off: i32, size: u32, info: &mut CtxAccess) -> bool {
        let name = match base {
            RegBase::SockCommon => "bpf_sock_common_is_valid_access",
            RegBase::Socket => "bpf_sock_is_valid_access",
            RegBase::TcpSock => "bpf_tcp_sock_is_valid_access",
            RegBase::XdpSock => "bpf_xdp_sock_is_valid_access",
            _ => return false,
        };
        let at =
            table::TABLES.iter().position(|t| t.name == name).and_then(|i| u16::try_from(i).ok());
        let kind = ProgKind::new(ProgType::Unspec, None);
        at.is_some_and(|at| self.walk(&kind, at, off, size, AccessType::Read, info, MAX_DEPTH))
    }

    fn walk(
        &self,
        kind: &ProgKind<'_>,
        at: u16,
        off: i32,
        size: u32,
        access: AccessType,
        info: &mut CtxAccess,
        depth: usize,
    ) -> bool {
        let Some(table) = table::TABLES.get(usize::from(at)) else { return false };
        let Some(end) = i32::try_from(size).ok().filter(|s| *s > 0).map(|s| off.saturating_add(s))
        else {
            return false;
        };
        if off < table.min
            || off >= table.max
            || (table.aligned && i64::from(off) % i64::from(size) != 0)
            || (table.whole && end > table.max)
        {
            return false;
        }
        for rule in table.rules {
            if !rule.matches(off, size, end, access, info.is_ldsx)
                || rule.tests.iter().any(|(want, test)| self.holds(kind, *test) != *want)
            {
                continue;
            }
            match rule.act {
                Act::Deny => return false,
                Act::Allow { reg, field, btf, quirk } => {
                    info.quirk = quirk;
                    info.ctx_field_size = u32::from(field);
                    info.reg_type = reg.unwrap_or(info.reg_type);
                    info.btf_struct = btf;
                    return true;
                }
                Act::Narrow(field) => {
                    info.ctx_field_size = u32::from(field);
                    return size <= u32::from(field);
                }
                Act::Unconverted(field) => {
                    info.ctx_field_size = u32::from(field);
                    info.unconverted = true;
                    return size <= u32::from(field);
                }
                Act::Set(reg) => info.reg_type = reg,
                Act::Goto(next) => {
                    return depth
                        .checked_sub(1)
                        .is_some_and(|d| self.walk(kind, next, off, size, access, info, d));
                }
                Act::Btf(promote) => {
                    info.needs_btf = true;
                    info.btf_promote = promote;
                    return true;
                }
            }
        }
        false
    }
}

impl CtxRule {
    fn matches(&self, off: i32, size: u32, end: i32, access: AccessType, is_ldsx: bool) -> bool {
        let op = match self.op {
            Op::Any => true,
            Op::Read => access == AccessType::Read,
            Op::Write => access == AccessType::Write,
        };
        let fit = match self.fit {
            Fit::Any => true,
            Fit::Wide => size == 8 && off % 8 == 0 && end <= self.end,
            Fit::Within => end <= self.end,
        };
        op && fit
            && (self.first..=self.last).contains(&off)
            && u32::from(self.sizes) & size != 0
            && (is_ldsx || !self.ldsx)
    }
}

/// Table of a program type; struct_ops ask by the struct they implement.
fn entry(kind: &ProgKind<'_>) -> Option<u16> {
    if kind.prog_type == ProgType::StructOps {
        let name = kind.hook?.split('.').next()?;
        return table::STRUCT_OPS.iter().find(|(n, _)| *n == name).map(|(_, t)| *t);
    }
    table::ENTRY.iter().find(|(t, _)| *t == kind.prog_type).map(|(_, t)| *t)
}
