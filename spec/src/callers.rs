//! Who may call which helper: the kernel's `get_func_proto` functions as ordered rules.
//!
//! Mirrors `*_func_proto` of `kernel/bpf/{helpers,cgroup,syscall,bpf_lsm}.c`, `kernel/trace/bpf_trace.c`,
//! `net/core/filter.c` and friends.  Rows come from `data/helpers/callers.toml`.

use crate::generated::callers as table;
use crate::generated::helpers::PROTOS;
use crate::helper::HelperProto;
use crate::kernel::{Features, Kernel};
use crate::prog::ProgKind;
use crate::release::{Change, Span};
use crate::sets::KernelSet;
use crate::uapi::{AttachType, ProgType};
use crate::view::RowKind;

/// Capability that a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cap {
    Bpf,
    Perfmon,
    SysAdmin,
}

/// One condition of a rule.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    Config(&'static str),
    Cap(Cap),
    Type(ProgType),
    Attach(&'static [AttachType]),
    /// Attached kernel function, iterator or struct_ops member.
    Hook(&'static [&'static str]),
    /// The attached kernel function is in a set.
    Hooked(KernelSet),
    Feature(&'static str, fn(&Features) -> bool),
    /// The kernel's release has a change; what the row is about.
    Since(Change, RowKind, &'static str),
    /// `uname -m`.
    Arch(&'static str),
    Sleepable,
    /// `bpf_prog_check_recur`.
    Recur,
    /// `bpf_prog_has_trampoline`.
    Trampoline,
}

/// What a matching rule says.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Index into the prototypes.
    Proto(u16),
    Deny,
    /// Another table decides.
    Go(u16),
    /// Another table decides unless it denies.
    Try(u16),
}

/// Ordered: the first rule that answers wins.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Helper number, -1 for any.
    pub helper: i16,
    /// Wanted outcome and test.
    pub tests: &'static [(bool, Test)],
    pub answer: Answer,
}

/// One `get_func_proto` function.
#[derive(Clone, Copy, Debug)]
pub struct RuleTable {
    pub name: &'static str,
    pub source: &'static str,
    pub rules: &'static [Rule],
}

/// Answer to "may this program call helper N".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtoLookup {
    Proto(&'static HelperProto),
    /// No such number (`ERANGE` inside the kernel): "invalid func".
    UnknownHelper,
    /// "program of this type cannot use helper".
    NotAllowed {
        /// Set when only this configuration symbol is missing.
        lacks_config: Option<&'static str>,
    },
}

/// Answers of one program kind for the helpers that a program calls, resolved once.
#[derive(Clone, Default, Debug)]
pub struct HelperTable {
    /// By number.
    answers: Vec<(i32, ProtoLookup)>,
}

impl HelperTable {
    /// None for a number that was not asked.
    pub fn get(&self, id: i32) -> Option<ProtoLookup> {
        let at = self.answers.binary_search_by_key(&id, |(i, _)| *i).ok()?;
        self.answers.get(at).map(|(_, answer)| *answer)
    }
}

/// Rule tables nest at most this deep (lsm, tracing, raw_tp, tracing base, base).
const MAX_DEPTH: usize = 8;

impl Kernel {
    /// The prototype that answers `id` for programs of this kind.
    pub fn helper_proto(&self, kind: &ProgKind<'_>, id: i32) -> ProtoLookup {
        if self.helper_row(id).is_none() {
            return ProtoLookup::UnknownHelper;
        }
        if self.absent_helpers.contains(&(id as u32)) {
            return ProtoLookup::NotAllowed { lacks_config: None };
        }
        let mut lacks_config = None;
        let found =
            entry(kind).and_then(|t| self.ask(kind, t, id as i16, &mut lacks_config, MAX_DEPTH));
        match found.and_then(|at| PROTOS.get(usize::from(at))) {
            Some(proto) => match proto.config {
                Some(config) if !self.config.has(config) => {
                    ProtoLookup::NotAllowed { lacks_config: Some(config) }
                }
                _ => ProtoLookup::Proto(proto),
            },
            None => ProtoLookup::NotAllowed { lacks_config },
        }
    }

    /// Answers for these numbers.
    pub fn helper_table(
        &self,
        kind: &ProgKind<'_>,
        ids: impl IntoIterator<Item = i32>,
    ) -> HelperTable {
        let mut ids: Vec<i32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        HelperTable {
            answers: ids.into_iter().map(|id| (id, self.helper_proto(kind, id))).collect(),
        }
    }

    fn ask(
        &self,
        kind: &ProgKind<'_>,
        at: u16,
        id: i16,
        lacks: &mut Option<&'static str>,
        depth: usize,
    ) -> Option<u16> {
        let rules = table::TABLES.get(usize::from(at))?.rules;
        for rule in rules.iter().filter(|r| r.helper == id || r.helper < 0) {
            let mut failed =
                rule.tests.iter().filter(|(want, test)| self.holds(kind, *test) != *want);
            match (failed.next(), failed.next()) {
                (None, _) => {}
                (Some((true, Test::Config(name))), None) if rule.helper == id => {
                    *lacks = Some(name);
                    continue;
                }
                _ => continue,
            }
            match rule.answer {
                Answer::Proto(proto) => return Some(proto),
                Answer::Deny => return None,
                Answer::Go(next) => {
                    return depth.checked_sub(1).and_then(|d| self.ask(kind, next, id, lacks, d))
                }
                Answer::Try(next) => {
                    if let Some(proto) =
                        depth.checked_sub(1).and_then(|d| self.ask(kind, next, id, lacks, d))
                    {
                        return Some(proto);
                    }
                }
            }
        }
        None
    }

    pub(crate) fn all_hold(&self, kind: &ProgKind<'_>, tests: &[(bool, Test)]) -> bool {
        tests.iter().all(|(want, test)| self.holds(kind, *test) == *want)
    }

    pub(crate) fn holds(&self, kind: &ProgKind<'_>, test: Test) -> bool {
        match test {
            Test::Config(name) => self.config.has(name),
            Test::Cap(Cap::Bpf) => kind.caps.bpf,
            Test::Cap(Cap::Perfmon) => kind.caps.perfmon,
            Test::Cap(Cap::SysAdmin) => kind.caps.sys_admin,
            Test::Type(t) => kind.prog_type == t,
            Test::Attach(list) => list.contains(&kind.attach()),
            Test::Hook(list) => kind.hook.is_some_and(|h| list.contains(&h)),
            Test::Hooked(set) => kind.hook.is_some_and(|h| self.in_set(set, h)),
            Test::Feature(_, has) => has(&self.features),
            Test::Since(change, kind, name) => {
                self.tables.view.holds(kind, name, &Span { since: Some(change), until: None })
            }
            Test::Arch(name) => self.arch == name,
            Test::Sleepable => kind.sleepable,
            Test::Recur => kind.checks_recursion(),
            Test::Trampoline => kind.has_trampoline(),
        }
    }
}

/// Program types that may call a helper, where configuration, capabilities, attach type and release allow it.
/// Left out are struct_ops programs, which are asked by the struct they implement.
pub fn callers_of(helper: u32) -> Vec<ProgType> {
    let Ok(id) = i16::try_from(helper) else { return Vec::new() };
    let asks = |t: ProgType, at: u16| may_call(t, at, id, MAX_DEPTH) == Some(true);
    table::ENTRY.iter().filter(|(t, at)| asks(*t, *at)).map(|(t, _)| *t).collect()
}

/// True if some program of the type gets the helper here, false if the table denies it to all; None where it says
/// nothing, or only to some.
fn may_call(prog_type: ProgType, at: u16, id: i16, depth: usize) -> Option<bool> {
    let rules = table::TABLES.get(usize::from(at))?.rules;
    for rule in rules.iter().filter(|r| r.helper == id || r.helper < 0) {
        let is_out = |(want, test): &(bool, Test)| match test {
            Test::Type(t) => (*t == prog_type) != *want,
            _ => false,
        };
        if rule.tests.iter().any(is_out) {
            continue;
        }
        let is_sure = rule.tests.iter().all(|(_, test)| matches!(test, Test::Type(_)));
        let next = |at: u16| depth.checked_sub(1).and_then(|d| may_call(prog_type, at, id, d));
        match rule.answer {
            Answer::Proto(_) => return Some(true),
            Answer::Deny if is_sure => return Some(false),
            Answer::Deny => {}
            Answer::Go(to) | Answer::Try(to) => match next(to) {
                Some(true) => return Some(true),
                other if is_sure && matches!(rule.answer, Answer::Go(_)) => return other,
                _ => {}
            },
        }
    }
    None
}

/// Table of a program type; struct_ops ask by the struct they implement.
fn entry(kind: &ProgKind<'_>) -> Option<u16> {
    if kind.prog_type == ProgType::StructOps {
        let name = kind.hook?.split('.').next()?;
        return table::STRUCT_OPS.iter().find(|(n, _)| *n == name).map(|(_, t)| *t);
    }
    table::ENTRY.iter().find(|(t, _)| *t == kind.prog_type).map(|(_, t)| *t)
}
