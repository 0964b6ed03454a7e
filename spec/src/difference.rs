//! What two kernels differ in, one thing at a time: to find which of them decides a verdict.

use std::collections::BTreeSet;

use crate::kernel::{Feature, Kernel, Limits};
use crate::release::{Release, Span};
use crate::tables::{rows, Tables};
use crate::view::RowId;

/// One thing that two kernels have differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Behaviour of the verifier, by the feature's name.
    Feature(&'static str),
    /// A dated fact.
    Row(RowId),
    /// A number that bounds programs.
    Limit(&'static str),
    /// A configuration symbol, without `CONFIG_`.
    Config(String),
    /// What the JIT can do, by the ability's name.
    Jit(&'static str),
    /// A helper or kfunc that one of them lacks although its release has it.
    Absent(String),
    /// Processors: `NR_CPUS` and how many there may be.
    Cpus,
    /// Functions of the BTF whose addresses the kernel does not know.
    Symbols,
}

impl Difference {
    /// Kind of cause, as reports name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Difference::Feature(_) => "behaviour",
            Difference::Row(_) | Difference::Limit(_) | Difference::Absent(_) => "fact",
            Difference::Config(_) | Difference::Jit(_) | Difference::Cpus => "configuration",
            Difference::Symbols => "type",
        }
    }

    /// Short and stable: the feature's, limit's or symbol's name.
    pub fn name(&self) -> String {
        match self {
            Difference::Feature(name) | Difference::Limit(name) => (*name).to_string(),
            Difference::Row(row) => row.name.to_string(),
            Difference::Config(name) => format!("CONFIG_{name}"),
            Difference::Jit(name) => format!("jit {name}"),
            Difference::Absent(name) => name.clone(),
            Difference::Cpus => "processors".to_string(),
            Difference::Symbols => "symbols".to_string(),
        }
    }

    /// The releases that have it, where it hangs on the release.
    pub fn span(&self) -> Option<Span> {
        match self {
            Difference::Feature(name) => {
                Feature::all().iter().find(|f| f.name == *name).map(|f| f.span)
            }
            Difference::Row(row) => Some(row.span),
            _ => None,
        }
    }

    /// Subject of the kernel's commit that made it so, where known.
    pub fn commit(&self) -> Option<&'static str> {
        match self {
            Difference::Feature(name) => Feature::all().iter().find(|f| f.name == *name)?.commit,
            Difference::Row(row) => row.commit(),
            _ => None,
        }
    }

    /// One clause for people: what a kernel that has it does.
    pub fn about(&self) -> String {
        match self {
            Difference::Feature(name) => {
                let feature = Feature::all().iter().find(|f| f.name == *name);
                feature.map_or(String::new(), |f| f.about.to_string())
            }
            Difference::Row(row) => row.about(),
            Difference::Limit(name) => format!("the limit {name}: {}", Limits::about(name)),
            Difference::Config(name) => format!("the option CONFIG_{name}"),
            Difference::Jit(name) => format!("the JIT's ability {name}"),
            Difference::Absent(name) => format!("{name}, which only one of the builds has"),
            Difference::Cpus => "the number of processors".to_string(),
            Difference::Symbols => "functions that have no address in one of them".to_string(),
        }
    }
}

impl Kernel {
    /// Everything that another kernel has differently, behaviours first.
    pub fn differences(&self, other: &Kernel) -> Vec<Difference> {
        let mut out = Vec::new();
        let features = self.features.list().into_iter().zip(other.features.list());
        out.extend(
            features.filter(|(a, b)| a.1 != b.1).map(|((name, _), _)| Difference::Feature(name)),
        );
        let (a, b) = (&self.tables.view, &other.tables.view);
        let differs =
            |r: &RowId| a.holds(r.kind, r.name, &r.span) != b.holds(r.kind, r.name, &r.span);
        out.extend(rows().into_iter().filter(differs).map(Difference::Row));
        let limits = self.limits.list().into_iter().zip(other.limits.list());
        out.extend(
            limits.filter(|(a, b)| a.1 != b.1).map(|((name, _), _)| Difference::Limit(name)),
        );
        let mut jits = (self.jit.clone(), other.jit.clone());
        let names = crate::jit::names();
        let flags = jits.0.flags_mut().into_iter().zip(jits.1.flags_mut()).zip(names);
        out.extend(flags.filter(|((a, b), _)| a != b).map(|(_, name)| Difference::Jit(name)));
        if self.jit.enabled != other.jit.enabled {
            out.push(Difference::Jit("enabled"));
        }
        let absent: BTreeSet<&str> =
            self.absent_kfuncs.symmetric_difference(&other.absent_kfuncs).copied().collect();
        out.extend(absent.into_iter().map(|n| Difference::Absent(n.to_string())));
        out.extend(self.config.differing(&other.config).into_iter().map(Difference::Config));
        if (self.nr_cpus, self.nr_cpu_ids) != (other.nr_cpus, other.nr_cpu_ids) {
            out.push(Difference::Cpus);
        }
        if self.absent_symbols != other.absent_symbols {
            out.push(Difference::Symbols);
        }
        out
    }

    /// This kernel, but for these differences, which are as the other kernel has them.
    pub fn with(&self, other: &Kernel, differences: &[Difference]) -> Kernel {
        let mut kernel = self.clone();
        let mut moved = Vec::new();
        let (mut from, mut to) = (other.clone(), Vec::new());
        for difference in differences {
            match difference {
                Difference::Feature(name) => {
                    let value = from.features.by_name_mut(name).map(|v| *v);
                    if let (Some(slot), Some(v)) = (kernel.features.by_name_mut(name), value) {
                        *slot = v;
                    }
                }
                Difference::Limit(name) => {
                    let value = from.limits.by_name_mut(name).map(|v| *v);
                    if let (Some(slot), Some(v)) = (kernel.limits.by_name_mut(name), value) {
                        *slot = v;
                    }
                }
                Difference::Row(row) => moved.push(*row),
                Difference::Config(name) => kernel.config.copy(&other.config, name),
                Difference::Jit("enabled") => kernel.jit.enabled = other.jit.enabled,
                Difference::Jit(name) => to.push(*name),
                Difference::Absent(name) => {
                    match other.absent_kfuncs.iter().find(|n| **n == name.as_str()) {
                        Some(absent) => {
                            kernel.absent_kfuncs.insert(absent);
                        }
                        None => kernel.absent_kfuncs.retain(|n| *n != name.as_str()),
                    }
                }
                Difference::Cpus => {
                    (kernel.nr_cpus, kernel.nr_cpu_ids) = (other.nr_cpus, other.nr_cpu_ids);
                }
                Difference::Symbols => kernel.absent_symbols.clone_from(&other.absent_symbols),
            }
        }
        let flags = kernel.jit.flags_mut().into_iter().zip(from.jit.flags_mut());
        for ((own, others), name) in flags.zip(crate::jit::names()) {
            if to.contains(&name) {
                *own = *others;
            }
        }
        if !moved.is_empty() {
            let view = self.tables.view.with(release(other), moved);
            kernel.tables = std::sync::Arc::new(Tables::resolve(view));
        }
        kernel
    }
}

fn release(kernel: &Kernel) -> Release {
    kernel.tables.view.at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Config;

    fn kernel(release: &str) -> Kernel {
        let config = Config::from_names(["NET", "CGROUPS"], ["NF_NAT"]);
        Kernel::of_release(release, "x86_64", config).unwrap()
    }

    #[test]
    fn all_differences_together_make_the_other_kernel() {
        let pairs = [("5.10.262", "6.1.192"), ("6.12.118", "6.18.44"), ("7.3.4", "6.1.192")];
        for (a, b) in pairs.map(|(a, b)| (kernel(a), kernel(b))) {
            let all = a.differences(&b);
            assert!(!all.is_empty());
            assert_eq!(a.with(&b, &all).differences(&b), []);
            assert_eq!(a.with(&b, &[]).differences(&a), []);
        }
    }

    #[test]
    fn one_difference_changes_nothing_else() {
        let (a, b) = (kernel("6.1.192"), kernel("6.12.118"));
        for one in a.differences(&b) {
            assert_eq!(a.with(&b, std::slice::from_ref(&one)).differences(&a), [one]);
        }
    }

    /// A helper of a later release comes alone, not with those that were numbered before it.
    #[test]
    fn a_helper_is_taken_alone() {
        let (old, new) = (kernel("5.10.262"), kernel("6.1.192"));
        let last = old.helper_ids().end - 1;
        let later = last + 2;
        let name = new.helper_name(later).to_string();
        let row = old.differences(&new).into_iter().find(|d| d.name() == name).unwrap();
        let mixed = old.with(&new, &[row]);
        assert!(mixed.helper_ids().contains(&later));
        assert_eq!(mixed.helper_name(last + 1), "unknown");
        assert_ne!(mixed.helper_name(later), "unknown");
    }
}
