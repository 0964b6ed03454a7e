//! CO-RE: making field accesses, type and enum facts fit the kernel loaded for
//! (`tools/lib/bpf/relo_core.c`, `Documentation/bpf/llvm_reloc.rst`).
//!
//! A relocation names a type of the object and an access into it.  Candidates are the kernel's types of the same
//! name without `___flavour`; all that match must agree.  What matches nothing turns its instruction into a call of
//! a helper that does not exist, which the verifier minds only if it is reached.

mod compat;
mod patch;
mod spec;
mod value;

use std::collections::HashMap;

use bpfassay_isa::RawInsn;

use crate::btf::{essential_len, Btf, BtfKind, Type};
use crate::btf_ext::CoreRelo;
use crate::error::{LoadError, LoadErrorKind as K};
use crate::target::{KernelTypes, Place};

pub(crate) use compat::types_are_compat;
use patch::patch;
use spec::{match_spec, parse_spec, Spec};
use value::{calc, Value};

/// `enum bpf_core_relo_kind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshift,
    FieldRshift,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
}

impl Kind {
    fn from_number(n: u32) -> Option<Kind> {
        const ALL: [Kind; 13] = [
            Kind::FieldByteOffset,
            Kind::FieldByteSize,
            Kind::FieldExists,
            Kind::FieldSigned,
            Kind::FieldLshift,
            Kind::FieldRshift,
            Kind::TypeIdLocal,
            Kind::TypeIdTarget,
            Kind::TypeExists,
            Kind::TypeSize,
            Kind::EnumvalExists,
            Kind::EnumvalValue,
            Kind::TypeMatches,
        ];
        ALL.get(n as usize).copied()
    }

    fn is_field(self) -> bool {
        (self as u8) <= Kind::FieldRshift as u8
    }

    fn is_enumval(self) -> bool {
        matches!(self, Kind::EnumvalExists | Kind::EnumvalValue)
    }

    fn is_type(self) -> bool {
        !self.is_field() && !self.is_enumval()
    }
}

/// What a relocation record asks for, in words; None where it does not fit its type.
pub(crate) fn describe(btf: &Btf, record: &[u32; 4]) -> Option<String> {
    let [_, type_id, access, kind] = *record;
    let spec = parse_spec(btf, type_id, Kind::from_number(kind)?, btf.str(access))?;
    let t = btf.skip_mods_and_typedefs(type_id)?;
    let kind = t.kind().kernel_name().to_ascii_lowercase();
    Some(format!("{kind} {}{}", t.name(), spec.path()))
}

/// Why a relocation is refused; becomes a [`LoadError`].
pub(crate) type Refusal = String;

/// Candidates for each type of the object, narrowed as relocations match (libbpf keeps them for one load).
pub(crate) struct Candidates<'a> {
    kernel: KernelTypes<'a>,
    by_type: HashMap<u32, Vec<(Place, u32)>>,
}

impl<'a> Candidates<'a> {
    pub fn new(kernel: KernelTypes<'a>) -> Candidates<'a> {
        Candidates { kernel, by_type: HashMap::new() }
    }

    fn of(&mut self, local: Type<'_>) -> &mut Vec<(Place, u32)> {
        let kernel = self.kernel;
        self.by_type.entry(local.id()).or_insert_with(|| find_candidates(kernel, local))
    }
}

/// Kinds that may stand for each other at the root (libbpf: `btf_kind_core_compat`).
fn kinds_compat(a: BtfKind, b: BtfKind) -> bool {
    a == b || (a.is_any_enum() && b.is_any_enum())
}

fn find_candidates(kernel: KernelTypes<'_>, local: Type<'_>) -> Vec<(Place, u32)> {
    let name = local.name().as_bytes();
    let essential = &name[..essential_len(name)];
    let Some(vmlinux) = kernel.btf else { return Vec::new() };
    let matching = |btf: &Btf, place: Place| -> Vec<(Place, u32)> {
        btf.find_own_by_essential_name(essential)
            .filter(|t| kinds_compat(t.kind(), local.kind()))
            .map(|t| (place.clone(), t.id()))
            .collect()
    };
    let mut found = matching(vmlinux, Place::Vmlinux);
    if found.is_empty() {
        for (i, (_, module)) in kernel.modules.iter().enumerate() {
            found.extend(matching(module, Place::Module(i)));
        }
    }
    found
}

/// What became of one relocation.
pub(crate) enum Outcome {
    Done,
    /// The kernel's BTF is only part of it and lacks this type; the instruction is poisoned meanwhile.
    Missing(String),
}

/// Applies one relocation to the instruction at `insn`.
pub(crate) fn relocate(
    btf: &Btf,
    relo: &CoreRelo,
    candidates: &mut Candidates<'_>,
    insns: &mut [RawInsn],
    insn: usize,
) -> Result<Outcome, LoadError> {
    resolve(btf, relo, candidates)
        .and_then(|(value, outcome)| patch(insns, insn, &value).map(|()| outcome))
        .map_err(|what| LoadError::new(K::CoRe, what).at_insn(insn))
}

fn resolve(
    btf: &Btf,
    relo: &CoreRelo,
    candidates: &mut Candidates<'_>,
) -> Result<(Value, Outcome), Refusal> {
    let kind = Kind::from_number(relo.kind)
        .ok_or_else(|| format!("unknown CO-RE relocation kind {}", relo.kind))?;
    let local =
        btf.ty(relo.type_id).ok_or_else(|| format!("type [{}] does not exist", relo.type_id))?;
    let describe = || format!("[{}] {} {}", local.id(), local.kind().kernel_name(), local.name());
    // libbpf refuses a nameless type when it looks for candidates, before it parses the access.
    if kind != Kind::TypeIdLocal && local.name().is_empty() {
        return Err(format!("{}: anonymous types cannot be relocated", describe()));
    }
    let spec =
        parse_spec(btf, relo.type_id, kind, btf.str(relo.access_str_off)).ok_or_else(|| {
            format!("{}: malformed access '{}'", describe(), btf.str(relo.access_str_off))
        })?;
    if kind == Kind::TypeIdLocal {
        return Ok((Value::exactly(relo.type_id as u64), Outcome::Done));
    }
    let kernel = candidates.kernel;
    let list = candidates.of(local);
    let mut chosen: Option<(Value, u32)> = None;
    let mut kept = Vec::new();
    for (place, id) in list.iter() {
        let Some(target) = kernel.btf_of(place) else { continue };
        let matched = match_spec(&spec, target, *id).map_err(|e| format!("{}: {e}", describe()))?;
        let Some(matched) = matched else { continue };
        let value = calc(&spec, Some(&matched))?;
        match &chosen {
            None => chosen = Some((value, matched.bit_offset)),
            Some((_, bits)) if *bits != matched.bit_offset => {
                return Err(format!(
                    "{}: field offset ambiguity: {} != {bits}",
                    describe(),
                    matched.bit_offset
                ));
            }
            Some((first, _)) if first.poison != value.poison || first.new != value.new => {
                return Err(format!(
                    "{}: relocation decision ambiguity: {} != {}",
                    describe(),
                    value.new,
                    first.new
                ));
            }
            Some(_) => {}
        }
        kept.push((place.clone(), *id));
    }
    let nothing_there = list.is_empty();
    if !kept.is_empty() {
        *list = kept;
    }
    match chosen {
        Some((value, _)) => Ok((value, Outcome::Done)),
        None if nothing_there && kernel.are_unknown() => {
            Ok((Value::poisoned(), Outcome::Missing(missing(local, &spec))))
        }
        None => Ok((calc(&spec, None)?, Outcome::Done)),
    }
}

fn missing(local: Type<'_>, spec: &Spec<'_>) -> String {
    let word = match local.kind() {
        BtfKind::Struct => "struct ",
        BtfKind::Union => "union ",
        BtfKind::Enum | BtfKind::Enum64 => "enum ",
        _ => "",
    };
    let name = local.name();
    let name = name.get(..essential_len(name.as_bytes())).unwrap_or(name);
    format!("kernel type {word}{name}{}", spec.path())
}
