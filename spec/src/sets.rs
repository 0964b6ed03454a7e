//! Named sets of kernel functions and types that the verifier looks names up in (`BTF_SET_START`).
//!
//! Names stand for BTF ids here: whoever has an id looks its name up first.  Rows come from
//! `data/sets.toml`.

use crate::generated::sets::SETS;
use crate::kernel::Kernel;
use crate::release::Span;
use crate::view::RowKind;

pub use crate::generated::sets::KernelSet;

/// One member and what it depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub name: &'static str,
    /// All must hold; `!X` means absent, `A|B` either.
    pub configs: &'static [&'static str],
    pub span: Span,
}

/// One set of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameSet {
    /// As the kernel names it.
    pub name: &'static str,
    pub span: Span,
    /// By name.
    pub members: &'static [Member],
}

impl Kernel {
    /// Whether this kernel's set holds a function or type.
    pub fn in_set(&self, set: KernelSet, name: &str) -> bool {
        let view = &self.tables.view;
        let Some(set) =
            SETS.get(set as usize).filter(|s| view.holds(RowKind::Set, s.name, &s.span))
        else {
            return false;
        };
        let Ok(at) = set.members.binary_search_by(|m| m.name.cmp(name)) else { return false };
        let holds = |term: &str| match term.strip_prefix('!') {
            Some(absent) => !self.config.is_enabled(absent),
            None => self.config.is_enabled(term),
        };
        set.members.get(at).is_some_and(|m| {
            view.holds(RowKind::Set, m.name, &m.span)
                && m.configs.iter().all(|c| c.split('|').any(holds))
        })
    }
}
