//! One kernel build: release, configuration, JIT abilities, limits and the behaviour that differs between builds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::release::{Release, Span};
use crate::tables::Tables;
use crate::uapi::{AttachType, ProgType};
use crate::view::View;

pub use crate::generated::kernels::{Features, Limits};
use crate::generated::kernels::{FEATURES, PROBES};
use crate::jit::Jit;
use crate::message::Words;

/// Enabled configuration symbols, without `CONFIG_`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Config {
    builtin: BTreeSet<String>,
    modules: BTreeSet<String>,
}

impl Config {
    /// From the symbols that are built in and those that are modules.
    pub fn from_names<I, J>(builtin: I, modules: J) -> Config
    where
        I: IntoIterator,
        I::Item: Into<String>,
        J: IntoIterator,
        J::Item: Into<String>,
    {
        Config {
            builtin: builtin.into_iter().map(Into::into).collect(),
            modules: modules.into_iter().map(Into::into).collect(),
        }
    }

    /// Built in, as `#ifdef CONFIG_X` asks.
    pub fn has(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// Built in or a module, as `IS_ENABLED` asks.
    pub fn is_enabled(&self, name: &str) -> bool {
        self.builtin.contains(name) || self.modules.contains(name)
    }

    /// Symbols that another configuration has otherwise, ascending.
    pub(crate) fn differing(&self, other: &Config) -> Vec<String> {
        let state = |c: &Config, n: &str| (c.builtin.contains(n), c.modules.contains(n));
        let all: BTreeSet<&String> = [&self.builtin, &self.modules, &other.builtin, &other.modules]
            .into_iter()
            .flatten()
            .collect();
        all.into_iter().filter(|n| state(self, n) != state(other, n)).cloned().collect()
    }

    /// Takes a symbol as another configuration has it.
    pub(crate) fn copy(&mut self, other: &Config, name: &str) {
        for (own, others) in
            [(&mut self.builtin, &other.builtin), (&mut self.modules, &other.modules)]
        {
            match others.contains(name) {
                true => own.insert(name.to_string()),
                false => own.remove(name),
            };
        }
    }

    /// Built-in symbols, ascending.
    pub fn builtin(&self) -> impl Iterator<Item = &str> {
        self.builtin.iter().map(String::as_str)
    }

    /// Symbols that are modules, ascending.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }
}

/// What is known of a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    pub name: &'static str,
    /// One sentence: what a kernel that has it does, and what others do.
    pub about: &'static str,
    /// File and symbol of the kernel, with the release read.
    pub source: &'static str,
    /// Subject of the kernel's commit, where known.
    pub commit: Option<&'static str>,
    pub span: Span,
}

impl Feature {
    pub fn all() -> &'static [Feature] {
        &FEATURES
    }
}

/// A program that a kernel accepts exactly if it has the feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeatureProbe {
    /// Name of the feature.
    pub feature: &'static str,
    pub prog_type: ProgType,
    /// In the kernel's disassembly syntax; licence GPL, no maps.
    pub text: &'static str,
    /// Older kernels judge the program by rules of other names.
    pub from: Release,
}

impl FeatureProbe {
    /// Every probe; `from` says for which kernels.  Features without one cannot be found out by loading alone.
    pub fn all() -> &'static [FeatureProbe] {
        PROBES
    }
}

/// A program type that a build refuses before verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub prog_type: ProgType,
    /// None means every attach type.
    pub attach_type: Option<AttachType>,
    /// Positive.
    pub errno: i32,
}

/// `NR_CPUS` where the configuration does not say.
const DEFAULT_NR_CPUS: u32 = 64;

/// The kernel that judges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Exact release, e.g. `6.18.44`.
    pub release: String,
    /// Rows of that release.
    pub(crate) tables: Arc<Tables>,
    /// `uname -m`.
    pub arch: String,
    /// Processors the build can have (`NR_CPUS`).
    pub nr_cpus: u32,
    pub features: Features,
    pub limits: Limits,
    /// Its wording where releases differ.
    pub words: Words,
    pub config: Config,
    pub jit: Jit,
    /// Highest possible CPU number plus one (`nr_cpu_ids`): bounds `bpf_get_smp_processor_id`.
    /// A fact of the machine, not of the build; 2 unless a profile says otherwise.
    pub nr_cpu_ids: u32,
    /// Users without CAP_BPF may load programs (`kernel.unprivileged_bpf_disabled` is 0): as the build boots, unless
    /// the caller says otherwise.
    pub unprivileged_bpf: bool,
    /// Helpers that this kernel lacks although its tables have them.
    pub absent_helpers: BTreeSet<u32>,
    /// Kfuncs likewise.
    pub absent_kfuncs: BTreeSet<&'static str>,
    /// Program types that the build refuses although it could verify them (hardening).
    pub refused: Vec<Refusal>,
    /// Functions and variables in the BTF whose addresses the kernel does not know (`kallsyms_lookup_name`);
    /// None where nobody recorded it.
    pub absent_symbols: Option<BTreeSet<String>>,
}

impl Kernel {
    /// What the tables say of a release (`uname -r`, or shorter: `6.18.44`) on a processor (`uname -m`), built with
    /// this configuration; None for a release line that they do not know.
    ///
    /// Nobody measured such a kernel: its features and its JIT follow from the release.
    pub fn of_release(release: &str, arch: &str, config: Config) -> Option<Kernel> {
        let at = Release::parse(release)?;
        Some(Kernel {
            release: release.to_string(),
            tables: Arc::new(Tables::resolve(View::of(at))),
            arch: arch.to_string(),
            nr_cpus: DEFAULT_NR_CPUS,
            features: Features::resolve(at),
            limits: Limits::resolve(at),
            words: Words::resolve(at),
            jit: Jit::of_release(at, arch, &config),
            unprivileged_bpf: !config.has("BPF_UNPRIV_DEFAULT_OFF"),
            config,
            absent_helpers: BTreeSet::new(),
            absent_kfuncs: BTreeSet::new(),
            refused: Vec::new(),
            absent_symbols: None,
            nr_cpu_ids: 2,
        })
    }

    /// The kernel cannot find the address of this function or variable of its BTF; false where nobody recorded it.
    pub fn lacks_symbol(&self, name: &str) -> bool {
        self.absent_symbols.as_ref().is_some_and(|s| s.contains(name))
    }

    /// Errno with which this build refuses a program before it looks at the instructions.
    /// Hardening, not a verdict: other builds of the same release verify such programs.
    pub fn refusal(&self, prog_type: ProgType, attach: Option<AttachType>) -> Option<i32> {
        let attach = attach.unwrap_or(AttachType::CgroupInetIngress);
        let matches =
            |r: &&Refusal| r.prog_type == prog_type && r.attach_type.is_none_or(|a| a == attach);
        self.refused.iter().find(matches).map(|r| r.errno)
    }
}
