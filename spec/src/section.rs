//! ELF section names of programs, as libbpf reads them (`section_defs`, `sec_def_matches`).
//!
//! Rows come from `data/sections.toml`.

use crate::uapi::{AttachType, ProgType};

use crate::generated::progs::AYA_SECTIONS;
pub use crate::generated::progs::SECTIONS as SECTION_DEFS;

/// What a section name says about its programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionDef {
    /// Exact name, or `name+` for `name` and `name/anything`.
    pub pattern: &'static str,
    pub prog_type: ProgType,
    /// None where libbpf passes 0.
    pub attach_type: Option<AttachType>,
    /// The attach type may be dropped for kernels that do not know it.
    pub attach_opt: bool,
    pub(crate) attach_btf: bool,
    pub(crate) sleepable: bool,
    pub(crate) xdp_frags: bool,
    pub(crate) usdt: bool,
}

impl SectionDef {
    /// Loaded with `BPF_F_SLEEPABLE`.
    pub const fn is_sleepable(&self) -> bool {
        self.sleepable
    }

    /// Names a kernel function, hook or type after the slash, whose BTF id is passed on.
    pub const fn attaches_by_btf(&self) -> bool {
        self.attach_btf
    }

    /// Loaded with `BPF_F_XDP_HAS_FRAGS`.
    pub const fn has_xdp_frags(&self) -> bool {
        self.xdp_frags
    }

    /// Statically defined tracing probe: attaches as `uprobe_multi` where the kernel has that.
    pub const fn is_usdt(&self) -> bool {
        self.usdt
    }

    /// The row for a section name, without a leading `?`.
    pub fn find(section: &str) -> Option<&'static SectionDef> {
        SECTION_DEFS.iter().find(|def| def.matches(section))
    }

    /// By cilium/ebpf's rule (`matchSectionName`, 5ba0b3b): a name without `+` is meant by every section that begins with
    /// it, so `tc_ingress` is `tc`.
    pub fn find_by_prefix(section: &str) -> Option<&'static SectionDef> {
        let begins =
            |def: &&SectionDef| !def.pattern.ends_with('+') && section.starts_with(def.pattern);
        SECTION_DEFS.iter().find(|def| def.matches(section) || begins(def))
    }

    /// By aya's rule (`ProgramSection::from_str`, aya-obj 0.2.1): what stands between slashes decides, as far as a row says.
    pub fn find_for_aya(section: &str) -> Option<&'static SectionDef> {
        AYA_SECTIONS.iter().find(|def| def.matches(section))
    }

    /// The part after the first slash: the attach target of this section, if it names one.
    pub fn target(section: &str) -> Option<&str> {
        section.split_once('/').map(|(_, target)| target)
    }

    /// True if a section of this name (without a leading `?`) is meant.
    pub fn matches(&self, section: &str) -> bool {
        match self.pattern.strip_suffix('+') {
            None => section == self.pattern,
            Some(stem) => section
                .strip_prefix(stem)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}
