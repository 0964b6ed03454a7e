//! One kernel build: release, configuration, JIT abilities, limits and the behaviour that differs between builds.

use std::collections::BTreeSet;

use crate::release::Release;
use crate::uapi::{AttachType, ProgType};

pub use crate::generated::kernels::{Features, Jit, Limits};
use crate::generated::kernels::{BUILDS, LIMITS, PROBES};

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

    /// Built-in symbols, ascending.
    pub fn builtin(&self) -> impl Iterator<Item = &str> {
        self.builtin.iter().map(String::as_str)
    }

    /// Symbols that are modules, ascending.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }
}

/// A build as the tables hold it.
#[derive(Clone, Debug)]
pub struct Build {
    /// What people type (`--kernel`).
    pub name: &'static str,
    pub release: &'static str,
    /// The release as facts are resolved for it.
    pub at: Release,
    /// `uname -r` of the kernel the facts were read from.
    pub uname: &'static str,
    pub arch: &'static str,
    /// `NR_CPUS`.
    pub nr_cpus: u32,
    pub config: &'static [&'static str],
    pub config_modules: &'static [&'static str],
    /// Symbols that rows ask for and the build lacks.
    pub config_absent: &'static [&'static str],
    /// Features of the release that this build lacks for reasons of its own.
    pub lacks: &'static [&'static str],
    pub jit: Jit,
    pub jit_inlines: &'static [&'static str],
    pub refused: &'static [Refusal],
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

/// The kernel that judges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Exact release, e.g. `6.18.44`.
    pub release: String,
    /// The release that facts are resolved for.
    pub(crate) at: Release,
    /// `uname -m`.
    pub arch: String,
    /// Processors the build can have (`NR_CPUS`).
    pub nr_cpus: u32,
    pub features: Features,
    pub limits: Limits,
    pub config: Config,
    pub jit: Jit,
    /// Highest possible CPU number plus one (`nr_cpu_ids`): bounds `bpf_get_smp_processor_id`.
    /// A fact of the machine, not of the build; 2 unless a profile says otherwise.
    pub nr_cpu_ids: u32,
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
    /// A known build by the name people type or by release: `6.18` is 6.18.44.
    pub fn by_name(name: &str) -> Option<Kernel> {
        BUILDS.iter().find(|b| b.name == name || b.release == name).map(Kernel::from_build)
    }

    /// Names that [`Kernel::by_name`] knows, with their releases.
    pub fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILDS.iter().map(|b| (b.name, b.release))
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

    fn from_build(build: &Build) -> Kernel {
        let mut jit = build.jit.clone();
        jit.inlines = build.jit_inlines.iter().map(|s| (*s).to_string()).collect();
        let mut features = Features::resolve(build.at);
        for name in build.lacks {
            if let Some(feature) = features.by_name_mut(name) {
                *feature = false;
            }
        }
        Kernel {
            release: build.release.to_string(),
            at: build.at,
            arch: build.arch.to_string(),
            nr_cpus: build.nr_cpus,
            features,
            limits: LIMITS,
            config: Config::from_names(
                build.config.iter().copied(),
                build.config_modules.iter().copied(),
            ),
            jit,
            absent_helpers: BTreeSet::new(),
            absent_kfuncs: BTreeSet::new(),
            refused: build.refused.to_vec(),
            absent_symbols: None,
            nr_cpu_ids: 2,
        }
    }
}
