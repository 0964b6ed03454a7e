//! Why a file, or one program of it, cannot be loaded: the loader's refusals, never the kernel's verdicts.

use std::fmt;

/// What kind of thing is refused; the name is stable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoadErrorKind {
    /// Not an ELF file, or a damaged one.
    Elf,
    /// ELF, but not a relocatable 64-bit BPF object.
    NotBpf,
    /// Big-endian object: no kernel of the profiles runs it.
    BigEndian,
    /// A section that has to be read is compressed.
    Compressed,
    /// Symbol table missing, repeated or damaged.
    Symbols,
    /// `license` or `version` section of the wrong form.
    Metadata,
    /// `maps` section of before libbpf 1.0.
    LegacyMaps,
    /// `.BTF` is damaged, or missing where it is needed.
    Btf,
    /// A function's place in its section is damaged, or it is a static function outside `.text`.
    Program,
    /// A map definition libbpf does not take.
    Map,
    /// An extern that cannot be resolved.
    Extern,
    /// A strong extern that the kernel has not got (libbpf: `ESRCH`).
    Absent,
    /// A `.struct_ops` map that does not fit the kernel.
    StructOps,
    /// An ELF relocation that cannot be applied.
    Relocation,
    /// A CO-RE relocation that libbpf refuses (ambiguous, malformed, not patchable).
    CoRe,
    /// Section name says no program type.
    ProgType,
    /// The kernel function, hook or type to attach to is not named or not found.
    AttachTarget,
    /// Beyond what this loader takes.
    TooLarge,
}

impl LoadErrorKind {
    /// Stable word for reports.
    pub fn name(self) -> &'static str {
        match self {
            LoadErrorKind::Elf => "elf",
            LoadErrorKind::NotBpf => "not_bpf",
            LoadErrorKind::BigEndian => "big_endian",
            LoadErrorKind::Compressed => "compressed",
            LoadErrorKind::Symbols => "symbols",
            LoadErrorKind::Metadata => "metadata",
            LoadErrorKind::LegacyMaps => "legacy_maps",
            LoadErrorKind::Btf => "btf",
            LoadErrorKind::Program => "program",
            LoadErrorKind::Map => "map",
            LoadErrorKind::Extern => "extern",
            LoadErrorKind::Absent => "absent",
            LoadErrorKind::StructOps => "struct_ops",
            LoadErrorKind::Relocation => "relocation",
            LoadErrorKind::CoRe => "core",
            LoadErrorKind::ProgType => "prog_type",
            LoadErrorKind::AttachTarget => "attach_target",
            LoadErrorKind::TooLarge => "too_large",
        }
    }
}

/// A refusal and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    pub kind: LoadErrorKind,
    /// What is wrong, without the place.
    pub what: String,
    pub place: Box<Place>,
}

/// Where in the file; what does not apply is `None`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// ELF section index and name.
    pub section: Option<(usize, String)>,
    /// ELF symbol index and name.
    pub symbol: Option<(usize, String)>,
    /// Number of the relocation in its section (CO-RE: in its section of `.BTF.ext`).
    pub relocation: Option<usize>,
    /// Function at fault, if one is.
    pub program: Option<String>,
    /// Slot within that function.
    pub insn: Option<usize>,
}

impl LoadError {
    pub(crate) fn new(kind: LoadErrorKind, what: impl Into<String>) -> LoadError {
        LoadError { kind, what: what.into(), place: Box::default() }
    }

    pub(crate) fn in_section(mut self, index: usize, name: &str) -> LoadError {
        self.place.section = Some((index, name.to_string()));
        self
    }

    pub(crate) fn at_symbol(mut self, index: usize, name: &str) -> LoadError {
        self.place.symbol = Some((index, name.to_string()));
        self
    }

    pub(crate) fn at_relocation(mut self, index: usize) -> LoadError {
        self.place.relocation = Some(index);
        self
    }

    pub(crate) fn in_program(mut self, name: &str) -> LoadError {
        self.place.program = Some(name.to_string());
        self
    }

    pub(crate) fn at_insn(mut self, index: usize) -> LoadError {
        self.place.insn = Some(index);
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(p) = &self.place.program {
            write!(f, "program '{p}': ")?;
        }
        if let Some((i, name)) = &self.place.section {
            write!(f, "section {i} '{name}': ")?;
        }
        if let Some(i) = self.place.relocation {
            write!(f, "relocation #{i}: ")?;
        }
        if let Some((i, name)) = &self.place.symbol {
            write!(f, "symbol {i} '{name}': ")?;
        }
        if let Some(i) = self.place.insn {
            write!(f, "instruction {i}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for LoadError {}
