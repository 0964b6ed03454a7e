//! A profile of the running kernel: what a verdict depends on beside the program.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::profile::{BtfBlob, Profile, Symbols, SCHEMA};
use bpfassay_spec::{Config, Kernel, Kfunc, Release};

use crate::kernel::{Host, KernelError};
use crate::probe;

/// Writes down the running kernel.
pub fn record(host: &Host) -> Result<Profile, KernelError> {
    let config = host.config().ok_or_else(|| {
        KernelError::Program("the running kernel's configuration cannot be read".to_string())
    })?;
    let config: BTreeMap<String, String> = config
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix("CONFIG_")?.to_string(), v.clone())))
        .collect();
    let modules = host.modules();
    let of = |value: &'static str| {
        config.iter().filter(move |(_, v)| *v == value).map(|(k, _)| k.as_str())
    };
    let base =
        base_of(&host.release, std::env::consts::ARCH, Config::from_names(of("y"), of("m")))?;
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
        base: String::new(),
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
        jit: None,
        config,
        vmlinux_btf: Some(BtfBlob::inline("vmlinux", &host.btf().to_bytes())),
        module_btf: modules.iter().map(|(n, b)| BtfBlob::inline(n, &b.to_bytes())).collect(),
        kfuncs,
        absent_helpers: asked.as_ref().map(|a| a.absent_helpers.clone()).unwrap_or_default(),
        refused: asked.map_or_else(Vec::new, |a| a.refused),
        symbols: Some(all_symbols(host)).filter(|_| !host.symbols().is_empty()),
    })
}

/// What the tables say of this release.
fn base_of(release: &str, arch: &str, config: Config) -> Result<Kernel, KernelError> {
    Kernel::of_release(release, arch, config).ok_or_else(|| {
        let (first, last) = Release::lines();
        let message = format!("no tables for kernel {release}; they go from {first} to {last}");
        KernelError::Program(message)
    })
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
