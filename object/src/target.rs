//! The kernel an object is loaded for, as an argument: its BTF, version, configuration and symbols.

use std::sync::Arc;

use crate::btf::{Btf, BtfKind, Type};

/// What is known of a fact about a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact<T> {
    Known(T),
    /// Known not to be there.
    Absent,
    /// Nobody recorded it: what depends on it cannot be judged.
    Unknown,
}

/// Abilities of a kernel that change what libbpf hands over.  `Default` is a kernel that has all (6.18 does).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoaderFeatures {
    /// `LINUX_HAS_BPF_COOKIE`.
    pub bpf_cookie: bool,
    /// `LINUX_HAS_SYSCALL_WRAPPER`: true on x86-64 and arm64 since 4.17.
    pub syscall_wrapper: bool,
    /// usdt programs attach as `uprobe_multi` (6.6).
    pub uprobe_multi: bool,
    /// The verifier knows `arg:ctx` tags (6.8); libbpf rewrites types for kernels that do not.
    pub arg_ctx_tag: bool,
}

impl Default for LoaderFeatures {
    fn default() -> LoaderFeatures {
        LoaderFeatures {
            bpf_cookie: true,
            syscall_wrapper: true,
            uprobe_multi: true,
            arg_ctx_tag: true,
        }
    }
}

/// A kernel to load for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// vmlinux BTF, whole; None where it is not known.
    pub btf: Option<&'a Arc<Btf>>,
    /// Modules' BTF on top of it, by name, in load order.
    pub modules: &'a [(String, Arc<Btf>)],
    /// `LINUX_VERSION_CODE`: `major << 16 | minor << 8 | patch`, patch at most 255.
    pub kernel_version: u32,
    /// Value of a configuration option (`CONFIG_HZ` → `250`, `y`, `m`, `"text"`), as in the kernel's config file.
    pub kconfig: &'a dyn Fn(&str) -> Fact<String>,
    /// Address of a kernel symbol (`/proc/kallsyms`); only `extern const void` externs need it.
    pub symbols: &'a dyn Fn(&str) -> Fact<u64>,
    /// CPUs that may ever be there: size of a perf event array whose size is left out.
    pub possible_cpus: u32,
    pub features: LoaderFeatures,
}

impl<'a> Target<'a> {
    /// A kernel of which only the BTF and the version are known.
    pub fn of_btf(btf: &'a Arc<Btf>, kernel_version: u32) -> Target<'a> {
        Target {
            btf: Some(btf),
            modules: &[],
            kernel_version,
            kconfig: &|_| Fact::Unknown,
            symbols: &|_| Fact::Unknown,
            possible_cpus: 1,
            features: LoaderFeatures::default(),
        }
    }

    pub(crate) fn types(&self) -> KernelTypes<'a> {
        KernelTypes { btf: self.btf, modules: self.modules }
    }
}

/// Which of the kernel's BTFs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Place {
    Vmlinux,
    /// Index into [`Target::modules`].
    Module(usize),
}

/// The kernel's types.
#[derive(Clone, Copy)]
pub(crate) struct KernelTypes<'a> {
    pub btf: Option<&'a Arc<Btf>>,
    pub modules: &'a [(String, Arc<Btf>)],
}

impl<'a> KernelTypes<'a> {
    /// Nobody said what types the kernel has, so not finding one says nothing.
    pub fn are_unknown(&self) -> bool {
        self.btf.is_none()
    }

    /// vmlinux first, then the modules' own types (libbpf: `find_ksym_btf_id`).
    pub fn find(&self, name: &str, kind: BtfKind) -> Option<(Place, Type<'a>)> {
        let vmlinux: &'a Btf = self.btf?;
        if let Some(t) = vmlinux.find_by_name_kind(name, kind).and_then(|id| vmlinux.ty(id)) {
            return Some((Place::Vmlinux, t));
        }
        self.modules.iter().enumerate().find_map(|(i, (_, m))| {
            let m: &'a Btf = m;
            Some((Place::Module(i), m.find_own_by_name_kind(name, kind).and_then(|id| m.ty(id))?))
        })
    }

    pub fn btf_of(&self, place: &Place) -> Option<&'a Btf> {
        match place {
            Place::Vmlinux => self.btf.map(|b| &**b),
            Place::Module(i) => self.modules.get(*i).map(|(_, b)| &**b),
        }
    }
}
