//! Named sets of kernel functions and types that the verifier looks names up in (`BTF_SET_START`).
//!
//! Names stand for BTF ids here: whoever has an id looks its name up first.  Rows come from
//! `data/sets.toml`.

use crate::generated::sets::SETS;
use crate::kernel::Kernel;

/// One member and the configuration it depends on.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub name: &'static str,
    /// All must hold; `!X` means absent, `A|B` either.
    pub configs: &'static [&'static str],
}

/// One set of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct NameSet {
    pub name: &'static str,
    pub source: &'static str,
    pub members: &'static [Member],
}

impl NameSet {
    pub fn by_name(name: &str) -> Option<&'static NameSet> {
        SETS.iter().find(|s| s.name == name)
    }
}

impl Kernel {
    /// Whether the kernel's set holds a function or type; false for an unknown set.
    pub fn in_set(&self, set: &str, name: &str) -> bool {
        let Some(set) = NameSet::by_name(set) else { return false };
        let holds = |term: &str| match term.strip_prefix('!') {
            Some(absent) => !self.config.is_enabled(absent),
            None => self.config.is_enabled(term),
        };
        set.members
            .iter()
            .any(|m| m.name == name && m.configs.iter().all(|c| c.split('|').any(holds)))
    }
}
