//! Whose rules an object is read by, and what becomes of what is refused.

use bpfassay_spec::SectionDef;

use crate::error::LoadError;

/// The loader whose rules apply where loaders differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Loader {
    /// Whatever some loader takes.  What none takes costs the programs that need it.
    #[default]
    Any,
    /// libbpf 1.0 and later: one refusal costs the object.
    Libbpf,
    /// cilium/ebpf.
    Cilium,
    /// aya.
    Aya,
    /// iproute2 without libbpf (`tc`, `ip`).
    Tc,
}

impl Loader {
    /// Every loader by its name on a command line.
    pub const ALL: [(&'static str, Loader); 5] = [
        ("any", Loader::Any),
        ("libbpf", Loader::Libbpf),
        ("cilium", Loader::Cilium),
        ("aya", Loader::Aya),
        ("tc", Loader::Tc),
    ];

    pub fn from_name(name: &str) -> Option<Loader> {
        Loader::ALL.iter().find(|(n, _)| *n == name).map(|(_, l)| *l)
    }

    pub(crate) fn refuses_whole_objects(self) -> bool {
        self == Loader::Libbpf
    }

    /// Takes programs that are `static` functions.
    pub(crate) fn takes_static_programs(self) -> bool {
        self != Loader::Libbpf
    }

    /// What a section name says of its programs.
    pub(crate) fn section_def(self, section: &str) -> Option<&'static SectionDef> {
        let exact = SectionDef::find(section);
        match self {
            Loader::Libbpf | Loader::Tc => exact,
            Loader::Aya => SectionDef::find_for_aya(section),
            Loader::Cilium => SectionDef::find_by_prefix(section),
            Loader::Any => exact
                .or_else(|| SectionDef::find_by_prefix(section))
                .or_else(|| SectionDef::find_for_aya(section)),
        }
    }

    /// Leaves pinning values other than 0 and 1 to the application (cilium/ebpf's `PinType`), or takes them for none
    /// (aya-obj 0.2.1, `parse_btf_map_def`).
    pub(crate) fn takes_any_pinning(self) -> bool {
        matches!(self, Loader::Any | Loader::Cilium | Loader::Aya)
    }

    /// Passes over fields of a map definition that it does not know (aya-obj 0.2.1, `parse_btf_map_def`).
    pub(crate) fn skips_unknown_map_fields(self) -> bool {
        matches!(self, Loader::Any | Loader::Aya)
    }

    /// Makes no inner maps (aya-obj 0.2.1 has no field for them).
    pub(crate) fn takes_no_inner_maps(self) -> bool {
        self == Loader::Aya
    }

    /// Licence of an object without a `license` section (aya-obj 0.2.1, `Object::parse`: GPL).
    pub(crate) fn default_license(self) -> &'static str {
        match self {
            Loader::Aya => "GPL",
            _ => "",
        }
    }

    /// Refuses an object whose BTF has a section of externs: its size is asked of the ELF file, which has no such
    /// section (aya-obj 0.2.1, `Btf::fixup_and_sanitize`).
    pub(crate) fn refuses_externs(self) -> bool {
        self == Loader::Aya
    }

    /// Leaves instructions that refer to externs as they stand (aya-obj 0.2.1, `relocate_maps`).
    pub(crate) fn leaves_externs(self) -> bool {
        self == Loader::Aya
    }

    /// Holds map definitions without BTF (`maps`, and `maps/…` where the loader looks for that).
    pub(crate) fn is_legacy_maps(self, section: &str) -> bool {
        match self {
            Loader::Libbpf => false,
            Loader::Tc => section == "maps",
            Loader::Any | Loader::Cilium | Loader::Aya => {
                section == "maps" || section.starts_with("maps/")
            }
        }
    }
}

/// What cannot be loaded: the object under some rules, the programs that refer to it under others.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub loader: Loader,
    pub list: Vec<LoadError>,
}

impl Refusals {
    pub fn new(loader: Loader) -> Refusals {
        Refusals { loader, list: Vec::new() }
    }

    /// Notes a refusal and gives its number, or gives it back where it stops everything.
    pub fn put(&mut self, e: LoadError) -> Result<usize, LoadError> {
        if self.loader.refuses_whole_objects() {
            return Err(e);
        }
        self.list.push(e);
        Ok(self.list.len() - 1)
    }
}
