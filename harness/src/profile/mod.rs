//! Profiles: what a verdict depends on beside the program, from a running kernel ([`record`]) or from what a
//! distribution's package holds ([`package`]).

mod image;
mod kallsyms;
pub mod package;

pub use image::decompress;

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::profile::{BtfBlob, Profile, Symbols, SCHEMA};
use bpfassay_spec::{Config, Kernel, Kfunc, Release};

use crate::kernel::{Host, KernelError};
use crate::probe::{self, Answers};

/// `uname -r` of a kernel image (ELF, bzImage, arm64 Image; compressed or not), from its banner.
pub fn release_of_image(bytes: &[u8]) -> Option<String> {
    let kernel = image::unpack(bytes).ok()?;
    image::release(&kernel)
}

/// Writes down the running kernel.
///
/// # Errors
/// A kernel without readable configuration or BTF, of a release line that the tables do not know, or one that answers
/// a question in no way that is understood.
pub fn record(host: &Host) -> Result<Profile, KernelError> {
    let config = host.config().ok_or_else(|| {
        KernelError::Program("the running kernel's configuration cannot be read".to_string())
    })?;
    let config: BTreeMap<String, String> = config
        .iter()
        .filter_map(|(k, v)| Some((k.strip_prefix("CONFIG_")?.to_string(), v.clone())))
        .collect();
    let names: BTreeSet<String> = host.symbols().keys().cloned().collect();
    let known = Known {
        release: host.release.clone(),
        upstream: host.upstream(),
        arch: std::env::consts::ARCH.to_string(),
        config,
        vmlinux: host.btf(),
        modules: host.modules(),
        symbols: Some(names).filter(|n| !n.is_empty()),
        possible_cpus: Some(host.possible_cpus()),
    };
    let tables = known.tables().map_err(KernelError::Program)?;
    // Where the kernel lets itself be asked, its answers go before the tables'.
    let asked = match probe::ask(&tables) {
        Ok(answers) => Some(answers),
        Err(KernelError::Unavailable | KernelError::NotPermitted) => None,
        Err(e) => return Err(e),
    };
    Ok(known.profile(&tables, asked))
}

/// What is known of a kernel, from wherever.
struct Known<'a> {
    /// `uname -r`.
    release: String,
    /// The upstream release, where somebody said: Debian's `6.1.0-56-amd64` is 6.1.192.
    upstream: Option<String>,
    /// `uname -m`.
    arch: String,
    /// Without `CONFIG_`.
    config: BTreeMap<String, String>,
    vmlinux: &'a Btf,
    /// Split BTF by module.
    modules: &'a [(String, std::sync::Arc<Btf>)],
    /// Names of all symbols.
    symbols: Option<BTreeSet<String>>,
    possible_cpus: Option<u32>,
}

impl Known<'_> {
    /// The release that the tables are asked for.
    fn base(&self) -> &str {
        self.upstream.as_deref().unwrap_or(&self.release)
    }

    /// What the tables say of this release.
    fn tables(&self) -> Result<Kernel, String> {
        let of = |value: &'static str| {
            self.config.iter().filter(move |(_, v)| *v == value).map(|(k, _)| k.as_str())
        };
        let config = Config::from_names(of("y"), of("m"));
        Kernel::of_release(self.base(), &self.arch, config).ok_or_else(|| {
            let (first, last) = Release::lines();
            format!("no tables for kernel {}; they go from {first} to {last}", self.release)
        })
    }

    /// The profile; `asked` is what the kernel itself answered.
    fn profile(self, tables: &Kernel, asked: Option<Answers>) -> Profile {
        let features = asked.iter().flat_map(|a| &a.features).map(|(n, v)| (n.to_string(), *v));
        let nr_cpus = self.config.get("NR_CPUS").and_then(|n| n.parse().ok());
        Profile {
            schema: SCHEMA.to_string(),
            name: self.release.clone(),
            complete: asked.as_ref().is_none_or(|a| a.notes.is_empty()),
            release: self.release.clone(),
            origin: String::new(),
            assumed: self.assumed(asked.is_some()),
            base: self
                .upstream
                .clone()
                .filter(|u| !self.release.starts_with(u))
                .unwrap_or_default(),
            arch: self.arch.clone(),
            nr_cpus: nr_cpus.unwrap_or(tables.nr_cpus),
            possible_cpus: self.possible_cpus.unwrap_or(tables.nr_cpu_ids),
            features: features.collect(),
            jit: None,
            vmlinux_btf: Some(BtfBlob::inline("vmlinux", &self.vmlinux.to_bytes())),
            module_btf: self
                .modules
                .iter()
                .map(|(n, b)| BtfBlob::inline(n, &b.to_bytes()))
                .collect(),
            kfuncs: self.kfuncs(),
            absent_helpers: asked.as_ref().map(|a| a.absent_helpers.clone()).unwrap_or_default(),
            refused: asked.map_or_else(Vec::new, |a| a.refused),
            symbols: self.symbols.as_ref().map(|names| told_by_btf(names, self.vmlinux)),
            config: self.config,
        }
    }

    /// Kfuncs of the tables that stand in the BTF, with their flags.
    fn kfuncs(&self) -> BTreeMap<String, Vec<String>> {
        let is_own = |b: &Btf, name: &str| b.find_own_by_name_kind(name, BtfKind::Func).is_some();
        let exists = |name: &str| {
            is_own(self.vmlinux, name) || self.modules.iter().any(|(_, b)| is_own(b, name))
        };
        let flags = |k: &Kfunc| k.flags.names().into_iter().map(String::from).collect();
        let there = Kfunc::all().iter().filter(|k| exists(k.name));
        there.map(|k| (k.name.to_string(), flags(k))).collect()
    }

    /// What nobody measured.
    fn assumed(&self, was_asked: bool) -> Vec<String> {
        let mut out = Vec::new();
        let release = self.base();
        if !was_asked {
            out.push(format!(
                "behaviours of the verifier and helpers: as release {release} has them"
            ));
            out.push("no hardening refuses programs before they are verified".to_string());
        }
        out.push(format!("JIT: on, with the abilities of release {release} on {}", self.arch));
        if self.possible_cpus.is_none() {
            out.push("possible CPUs: 2".to_string());
        }
        if self.symbols.is_none() {
            out.push("symbols: functions and variables of the BTF have addresses".to_string());
        }
        out
    }
}

/// Symbols told as what differs from the functions and variables of a BTF.
fn told_by_btf(there: &BTreeSet<String>, btf: &Btf) -> Symbols {
    let is_symbol = |kind| matches!(kind, BtfKind::Func | BtfKind::Var);
    let typed: BTreeSet<&str> =
        btf.own_types().filter(|t| is_symbol(t.kind())).map(|t| t.name()).collect();
    Symbols {
        present: there.iter().filter(|n| !typed.contains(n.as_str())).cloned().collect(),
        absent: typed.into_iter().filter(|n| !there.contains(*n)).map(String::from).collect(),
    }
}
