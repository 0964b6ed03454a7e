//! A profile of the running kernel: what a verdict depends on beside the program.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::profile::{BtfBlob, Profile, RefusedType, Symbols, SCHEMA};
use bpfassay_spec::{Kernel, Kfunc};

use crate::kernel::{Host, KernelError};
use crate::probe;

/// Writes down the running kernel.
pub fn record(host: &Host) -> Result<Profile, KernelError> {
    let base = base_of(&host.release)?;
    let config = host.config().ok_or_else(|| {
        KernelError::Program("the running kernel's configuration cannot be read".to_string())
    })?;
    let config: BTreeMap<String, String> = config
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix("CONFIG_")?.to_string(), v.clone())))
        .collect();
    let modules = host.modules();
    let exists = |name: &str| {
        let own = |b: &Btf| b.find_own_by_name_kind(name, BtfKind::Func).is_some();
        own(host.btf()) || host.modules().iter().any(|(_, b)| own(b))
    };
    let kfuncs = Kfunc::all()
        .iter()
        .filter(|k| exists(k.name))
        .map(|k| (k.name.to_string(), k.flags.names().into_iter().map(String::from).collect()))
        .collect();
    // Where the kernel lets itself be asked, its answers go before the tables'.
    let asked = match probe::ask(&base) {
        Ok(answers) => Some(answers),
        Err(KernelError::Unavailable | KernelError::NotPermitted) => None,
        Err(e) => return Err(e),
    };
    let features = asked.iter().flat_map(|a| &a.features).map(|(n, v)| (n.to_string(), *v));
    let agrees = asked.as_ref().is_none_or(|a| a.notes.is_empty());
    Ok(Profile {
        schema: SCHEMA.to_string(),
        name: host.release.clone(),
        complete: agrees,
        release: host.release.clone(),
        origin: String::new(),
        assumed: Vec::new(),
        base: base.release.clone(),
        arch: base.arch.clone(),
        nr_cpus: config.get("NR_CPUS").and_then(|n| n.parse().ok()).unwrap_or(base.nr_cpus),
        possible_cpus: host.possible_cpus(),
        features: base
            .features
            .list()
            .into_iter()
            .map(|(n, v)| (n.to_string(), v))
            .chain(features)
            .collect(),
        jit: base.jit.clone(),
        config,
        vmlinux_btf: Some(BtfBlob::inline("vmlinux", &host.btf().to_bytes())),
        module_btf: modules.iter().map(|(n, b)| BtfBlob::inline(n, &b.to_bytes())).collect(),
        kfuncs,
        absent_helpers: asked.as_ref().map(|a| a.absent_helpers.clone()).unwrap_or_default(),
        refused: asked.map_or_else(|| refusals(&base), |a| a.refused),
        symbols: Some(all_symbols(host)).filter(|_| !host.symbols().is_empty()),
    })
}

/// The known build a release belongs to: the same release, whatever the builder appended.
fn base_of(release: &str) -> Result<Kernel, KernelError> {
    let numbers = release.split(['-', '+', '_']).next().unwrap_or(release);
    Kernel::by_name(numbers).ok_or_else(|| {
        let known: Vec<_> = Kernel::known().map(|(_, r)| r).collect();
        KernelError::Program(format!(
            "no tables for kernel {release}; known releases are {}",
            known.join(", ")
        ))
    })
}

fn refusals(base: &Kernel) -> Vec<RefusedType> {
    base.refused
        .iter()
        .map(|r| RefusedType {
            prog_type: r.prog_type.name().to_string(),
            attach_type: r.attach_type.map(|a| a.name().to_string()),
            errno: r.errno,
        })
        .collect()
}

/// A function or variable.
fn is_symbol(kind: BtfKind) -> bool {
    matches!(kind, BtfKind::Func | BtfKind::Var)
}

/// Names of a BTF's functions and variables.
fn symbols_of(btf: &Btf) -> BTreeSet<&str> {
    btf.own_types().filter(|t| is_symbol(t.kind())).map(|t| t.name()).collect()
}

/// Every symbol of the kernel, told as what differs from its BTF.
fn all_symbols(host: &Host) -> Symbols {
    let (there, typed) = (host.symbols(), symbols_of(host.btf()));
    Symbols {
        present: there.keys().filter(|n| !typed.contains(n.as_str())).cloned().collect(),
        absent: typed.into_iter().filter(|n| !there.contains_key(*n)).map(String::from).collect(),
    }
}
