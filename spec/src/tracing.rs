//! Facts about what tracing programs attach to: tracepoints with special arguments, iterators, struct_ops members.
//!
//! A kernel's BTF says which of them exist.  Rows come from `data/tracing.toml`.

use crate::generated::tracing::{ITERATORS, RAW_TP_ARGS, STRUCT_OPS};
use crate::kernel::Kernel;
use crate::kfunc::KfuncFlags;
use crate::release::Span;
use crate::sets::KernelSet;
use crate::types::RegType;
use crate::view::RowKind;

/// Members of an iterator's context and the type a load gives (`struct bpf_iter_reg::ctx_arg_info`).
pub type IterArgs = &'static [(&'static str, RegType)];

/// What is known of a raw tracepoint's argument (`raw_tp_null_args`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RawTpArg {
    pub may_be_null: bool,
    pub may_be_error: bool,
}

/// What is known of a raw tracepoint's arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawTpArgs {
    pub name: &'static str,
    /// Four bits an argument.
    pub mask: u64,
    pub span: Span,
    /// Subject of the kernel's commit, where known.
    pub commit: Option<&'static str>,
}

impl RawTpArgs {
    fn rows(name: &str) -> impl Iterator<Item = &'static RawTpArgs> + '_ {
        let first = RAW_TP_ARGS.partition_point(|r| r.name < name);
        RAW_TP_ARGS.iter().skip(first).take_while(move |r| r.name == name)
    }

    fn arg(&self, nth: u32) -> RawTpArg {
        let bits = self.mask.checked_shr(4 * nth).unwrap_or(0);
        RawTpArg { may_be_null: bits & 1 != 0, may_be_error: bits & 2 != 0 }
    }
}

/// One clause for people: which arguments may be what.
pub(crate) fn about_arguments(name: &str, span: &Span) -> String {
    let row = RawTpArgs::rows(name).find(|r| r.span == *span);
    let said = |nth: u32| {
        let arg = row?.arg(nth);
        let what = match (arg.may_be_null, arg.may_be_error) {
            (false, false) => return None,
            (true, false) => "may be NULL",
            (false, true) => "may be an error and is no pointer",
            (true, true) => "may be NULL or an error",
        };
        Some(format!("argument {} of the tracepoint {name} {what}", nth + 1))
    };
    let all: Vec<String> = (0..16).filter_map(said).collect();
    match all.is_empty() {
        true => format!("no argument of the tracepoint {name} may be NULL or an error"),
        false => all.join(", "),
    }
}

/// Subject of the commit of that row.
pub(crate) fn commit_of_arguments(name: &str, span: &Span) -> Option<&'static str> {
    RawTpArgs::rows(name).find(|r| r.span == *span)?.commit
}

/// A kind of struct_ops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StructOps {
    pub name: &'static str,
    /// Those with a stub; None for all.
    pub members: Option<&'static [&'static str]>,
    /// Those without one.
    pub without: &'static [&'static str],
    pub sleepable: Sleepers,
}

/// Members of a kind of struct_ops that may sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sleepers {
    All,
    Named(&'static [&'static str]),
    /// By struct and member.
    Set(KernelSet),
}

impl Kernel {
    /// Special treatment of argument `arg`, 0 for the first after `__data`; None for a tracepoint without a row.
    pub fn raw_tp_arg(&self, tracepoint: &str, arg: u32) -> Option<RawTpArg> {
        let holds = |r: &&RawTpArgs| self.tables.view.holds(RowKind::Tracepoint, r.name, &r.span);
        RawTpArgs::rows(tracepoint).find(holds).map(|r| r.arg(arg))
    }

    /// Typed members of `struct bpf_iter__NAME`; None for an unknown iterator.
    pub fn iterator_args(&self, name: &str) -> Option<IterArgs> {
        let i = ITERATORS.binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
        ITERATORS.get(i).map(|(_, args)| *args)
    }

    /// A program may implement the member: the kernel has a stub for it (`bpf_struct_ops_supported`).
    pub fn has_struct_ops_stub(&self, ops: &str, member: &str) -> bool {
        let Some(row) = STRUCT_OPS.iter().find(|s| s.name == ops) else { return true };
        row.members.is_none_or(|m| m.contains(&member)) && !row.without.contains(&member)
    }

    /// A program that implements the member may sleep (`check_member` of `struct bpf_struct_ops`).
    pub fn may_struct_ops_sleep(&self, ops: &str, member: &str) -> bool {
        match STRUCT_OPS.iter().find(|s| s.name == ops).map(|s| s.sleepable) {
            None | Some(Sleepers::All) => true,
            Some(Sleepers::Named(members)) => members.contains(&member),
            Some(Sleepers::Set(set)) => self.in_set(set, &format!("{ops}.{member}")),
        }
    }

    /// Whether errors may be injected into a function (`within_error_injection_list`); None where only the running
    /// kernel knows: the list is made by its linker.
    pub fn error_injection(&self, func: &str) -> Option<bool> {
        const SYSCALLS: [&str; 3] = ["__x64_sys_", "__ia32_sys_", "__arm64_sys_"];
        if !self.config.has("FUNCTION_ERROR_INJECTION") {
            return Some(false);
        }
        SYSCALLS.iter().any(|p| func.starts_with(p)).then_some(true)
    }

    /// Whether a sleepable program may attach to a function that is not an LSM hook; None where the error injection
    /// list decides and only the running kernel knows it.
    pub fn may_trace_sleepable(&self, func: &str) -> Option<bool> {
        let injectable = match self.in_set(KernelSet::BtfNonSleepableErrorInject, func) {
            true => Some(false),
            false => self.error_injection(func),
        };
        let by_kfunc = self.fmod_ret(func).is_some_and(|k| k.flags.has(KfuncFlags::SLEEPABLE));
        match by_kfunc {
            true => Some(true),
            false => injectable,
        }
    }
}
