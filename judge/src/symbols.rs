//! What is known of a kernel's symbols: whether they are there, and where.
//!
//! Mirrors what libbpf reads from `/proc/kallsyms` for `extern const void` externs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bpfassay_builds::Build;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::Fact;
use bpfassay_spec::profile::Profile;

/// Symbols of the kernel judged for.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    /// Names with their addresses, 0 where those are not known.
    present: Arc<BTreeMap<String, u64>>,
    absent: Arc<BTreeSet<String>>,
    /// A served build, whose further symbols are looked up when they are asked for.
    build: Option<Build>,
    /// What is neither in `present` nor a function or variable of the BTF is not there.
    complete: bool,
    /// Functions and variables of the BTF are there unless `absent`.
    recorded: bool,
}

impl SymbolTable {
    pub fn of_profile(profile: &Profile) -> SymbolTable {
        let Some(symbols) = &profile.symbols else { return SymbolTable::default() };
        SymbolTable {
            present: Arc::new(symbols.present.iter().map(|n| (n.clone(), 0)).collect()),
            absent: Arc::new(symbols.absent.clone()),
            build: None,
            complete: true,
            recorded: true,
        }
    }

    /// Takes the symbols that a served build keeps apart from its profile.
    pub(crate) fn set_build(&mut self, build: Build) {
        self.build = Some(build);
    }

    /// All symbols of a running kernel.
    pub fn of_running(symbols: BTreeMap<String, u64>) -> SymbolTable {
        SymbolTable { present: Arc::new(symbols), complete: true, ..SymbolTable::default() }
    }

    /// Functions and variables of a BTF that a running kernel has no address of.
    pub fn lacking(&self, btf: &Btf) -> BTreeSet<String> {
        let is_symbol = |k| matches!(k, BtfKind::Func | BtfKind::Var);
        let names = btf.own_types().filter(|t| is_symbol(t.kind())).map(|t| t.name());
        names.filter(|n| !self.present.contains_key(*n)).map(String::from).collect()
    }

    /// Address of a symbol.  Profiles keep none, so a stand-in takes its place: a verdict can hang on it only where
    /// a program compares it with a number of its own.
    pub fn address(&self, name: &str, btf: Option<&Arc<Btf>>) -> Fact<u64> {
        if let Some(address) = self.present.get(name) {
            return Fact::Known(if *address == 0 { stand_in(name) } else { *address });
        }
        let in_btf = |k| btf.is_some_and(|b| b.find_by_name_kind(name, k).is_some());
        if self.absent.contains(name) {
            Fact::Absent
        } else if self.recorded && (in_btf(BtfKind::Func) || in_btf(BtfKind::Var))
            || self.build.is_some_and(|b| b.has_symbol(name))
        {
            Fact::Known(stand_in(name))
        } else if self.complete {
            Fact::Absent
        } else {
            Fact::Unknown
        }
    }
}

/// Some address of kernel text, the same for the same name (FNV-1a).
fn stand_in(name: &str) -> u64 {
    const TEXT: u64 = 0xffff_ffff_8100_0000;
    let step = |h: u32, b: u8| (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
    TEXT + u64::from(name.bytes().fold(0x811c_9dc5, step) & 0x00ff_fff0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bpfassay_object::Fact;

    use super::SymbolTable;

    #[test]
    fn what_nobody_recorded_is_unknown() {
        assert_eq!(SymbolTable::default().address("schedule", None), Fact::Unknown);
    }

    #[test]
    fn a_running_kernel_knows_all_of_its_symbols() {
        let all = BTreeMap::from([("a".to_string(), 0x1234), ("hidden".to_string(), 0)]);
        let table = SymbolTable::of_running(all);
        assert_eq!(table.address("a", None), Fact::Known(0x1234));
        assert_eq!(table.address("b", None), Fact::Absent);
        assert!(
            matches!(table.address("hidden", None), Fact::Known(at) if at >> 32 == 0xffff_ffff)
        );
    }
}
