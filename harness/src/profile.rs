//! A profile of the running kernel: what a verdict depends on beside the program.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::Opened;
use bpfassay_spec::profile::{
    base64_encode, sha256, BtfBlob, Profile, RefusedType, Symbols, SCHEMA,
};
use bpfassay_spec::{Kernel, Kfunc};

use crate::kernel::{Host, KernelError};
use crate::probe;

/// Kernel types that the verifier itself looks up by name, whatever the object says.
const VERIFIER_TYPES: [&str; 18] = [
    "bpf_ctx_convert",
    "bpf_map",
    "bpf_array",
    "bpf_iter_num",
    "bpf_dynptr",
    "vm_area_struct",
    "task_struct",
    "file",
    "inode",
    "cgroup",
    "linux_binprm",
    "seq_file",
    "path",
    "btf_ptr",
    "sock",
    "sock_common",
    "tcp_sock",
    "socket",
];

/// Kernel types that programs of other projects look into most often, and the kernel's own numbers that
/// they ask for before they use what is new: a name a line.
const COMMON_TYPES: &str = include_str!("profile_types.txt");

/// Which types of the kernel's BTF a profile keeps.
pub enum Types<'a> {
    /// All: several MiB.
    All,
    /// Those that these objects name, those that the verifier asks for, and those that many ask for.
    NamedBy(&'a [Vec<u8>]),
}

/// Writes down the running kernel.
pub fn record(host: &Host, types: Types<'_>) -> Result<Profile, KernelError> {
    let base = base_of(&host.release)?;
    let config = host.config().ok_or_else(|| {
        KernelError::Program("the running kernel's configuration cannot be read".to_string())
    })?;
    let config: BTreeMap<String, String> = config
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix("CONFIG_")?.to_string(), v.clone())))
        .collect();
    let whole = matches!(types, Types::All);
    let modules = if whole { host.modules() } else { &[] };
    let exists = |name: &str| {
        let own = |b: &Btf| b.find_own_by_name_kind(name, BtfKind::Func).is_some();
        own(host.btf()) || host.modules().iter().any(|(_, b)| own(b))
    };
    let kfuncs = Kfunc::all()
        .iter()
        .filter(|k| exists(k.name))
        .map(|k| (k.name.to_string(), k.flags.names().into_iter().map(String::from).collect()))
        .collect();
    let blob = |name: &str, own: &Btf, kept: &Btf| BtfBlob {
        name: name.to_string(),
        sha256: sha256(&own.to_bytes()),
        partial: !whole,
        file: None,
        base64: Some(base64_encode(&kept.to_bytes())),
    };
    let (vmlinux, absent_types, symbols) = match types {
        Types::All => (blob("vmlinux", host.btf(), host.btf()), Vec::new(), all_symbols(host)),
        Types::NamedBy(objects) => {
            let mut names = names_of(objects);
            names.extend(VERIFIER_TYPES.into_iter().chain(COMMON_TYPES.lines()).map(String::from));
            let lacks = |n: &&String| host.btf().find_by_name(n).next().is_none();
            let absent = names.iter().filter(lacks).cloned().collect();
            let kept = host.btf().subset(&names);
            let symbols = named_symbols(host, &kept, ksyms_of(objects));
            (blob("vmlinux", host.btf(), &kept), absent, symbols)
        }
    };
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
        name: if whole { host.release.clone() } else { format!("bundled-{}", base.release) },
        complete: whole && agrees,
        release: if whole { host.release.clone() } else { base.release.clone() },
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
        vmlinux_btf: Some(vmlinux),
        absent_types,
        module_btf: modules.iter().map(|(n, b)| blob(n, b, b)).collect(),
        kfuncs,
        absent_helpers: asked.as_ref().map(|a| a.absent_helpers.clone()).unwrap_or_default(),
        refused: asked.map_or_else(|| refusals(&base), |a| a.refused),
        symbols: Some(symbols).filter(|_| !host.symbols().is_empty()),
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

/// What a partial BTF and the objects' own symbols ask for.
fn named_symbols(host: &Host, kept: &Btf, ksyms: BTreeSet<String>) -> Symbols {
    let (there, typed) = (host.symbols(), symbols_of(kept));
    let mut out = Symbols::default();
    for name in ksyms.iter().map(String::as_str).chain(typed.iter().copied()) {
        if !there.contains_key(name) {
            out.absent.insert(name.to_string());
        } else if !typed.contains(name) {
            out.present.insert(name.to_string());
        }
    }
    out
}

/// Variables in the objects' `.ksyms`.
fn ksyms_of(objects: &[Vec<u8>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for bytes in objects {
        let Ok(opened) = Opened::parse(bytes, "object") else { continue };
        let Some(btf) = opened.btf() else { continue };
        let sections = btf.own_types().filter(|t| t.kind() == BtfKind::Datasec);
        for v in sections.filter(|t| t.name() == ".ksyms").flat_map(|t| t.vars()) {
            if btf.kind(v.type_id) == Some(BtfKind::Var) {
                names.insert(btf.name(v.type_id).to_string());
            }
        }
    }
    names.remove("dummy_ksym");
    names
}

/// Names of all types and externs in the objects' BTF, flavours cut off; unreadable objects name nothing.
fn names_of(objects: &[Vec<u8>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for bytes in objects {
        let Ok(opened) = Opened::parse(bytes, "object") else { continue };
        for t in opened.btf().into_iter().flat_map(Btf::own_types) {
            let name = t.name();
            let asked = matches!(
                t.kind(),
                BtfKind::Struct
                    | BtfKind::Union
                    | BtfKind::Enum
                    | BtfKind::Enum64
                    | BtfKind::Typedef
                    | BtfKind::Func
                    | BtfKind::Var
            );
            if asked && !name.is_empty() {
                names.insert(name.split("___").next().unwrap_or(name).to_string());
            }
        }
    }
    names
}
