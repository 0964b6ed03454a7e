//! Comparing a type of the object with one of the kernel
//! (`__bpf_core_types_are_compat`, `__bpf_core_types_match`).

use super::{kinds_compat, Refusal};
use crate::btf::{essential_len, int_encoding, Btf, BtfKind, Type};

/// Pointers, arrays and return types followed in one comparison.
const MAX_DEPTH: u32 = 32;
/// Parameters and members compared in one go: nesting fans out.
const MAX_WORK: u32 = 1 << 20;

fn too_deep() -> Refusal {
    "types are nested too deeply to compare".to_string()
}

/// No bit offset, which only ancient bitfields have.
pub(super) fn ints_are_plain(a: Type<'_>, b: Type<'_>) -> bool {
    let plain = |t: Type<'_>| t.int().is_some_and(|i| i.offset == 0);
    plain(a) && plain(b)
}

struct Pair<'a> {
    local: &'a Btf,
    target: &'a Btf,
    work: u32,
}

/// Loosely the same: kinds agree all the way down, names and sizes do not count.
pub(crate) fn types_are_compat(
    local_btf: &Btf,
    local: u32,
    btf: &Btf,
    target: u32,
) -> Result<bool, Refusal> {
    Pair { local: local_btf, target: btf, work: MAX_WORK }.compat(local, target, MAX_DEPTH)
}

/// Strictly the same: as far as the object's type goes, the kernel's has it too.
pub(super) fn types_match(
    local_btf: &Btf,
    local: u32,
    btf: &Btf,
    target: u32,
) -> Result<bool, Refusal> {
    Pair { local: local_btf, target: btf, work: MAX_WORK }.matches(local, target, false, MAX_DEPTH)
}

impl<'a> Pair<'a> {
    fn spend(&mut self) -> Result<(), Refusal> {
        self.work = self.work.checked_sub(1).ok_or_else(too_deep)?;
        Ok(())
    }

    fn bare(&self, local: u32, target: u32) -> Result<(Type<'a>, Type<'a>), Refusal> {
        let l = self.local.skip_mods_and_typedefs(local);
        let t = self.target.skip_mods_and_typedefs(target);
        l.zip(t).ok_or_else(|| "cyclic type".to_string())
    }

    fn compat(&mut self, local: u32, target: u32, level: u32) -> Result<bool, Refusal> {
        let (mut local, mut target) = (local, target);
        match (self.local.kind(local), self.target.kind(target)) {
            (Some(a), Some(b)) if kinds_compat(a, b) => {}
            _ => return Ok(false),
        }
        for _ in 0..MAX_DEPTH {
            self.spend()?;
            let (l, t) = self.bare(local, target)?;
            if !kinds_compat(l.kind(), t.kind()) {
                return Ok(false);
            }
            match l.kind() {
                BtfKind::Unkn
                | BtfKind::Struct
                | BtfKind::Union
                | BtfKind::Enum
                | BtfKind::Fwd
                | BtfKind::Enum64 => return Ok(true),
                BtfKind::Int => return Ok(ints_are_plain(l, t)),
                BtfKind::Ptr => (local, target) = (l.type_id(), t.type_id()),
                BtfKind::Array => match (l.array(), t.array()) {
                    (Some(a), Some(b)) => (local, target) = (a.elem, b.elem),
                    _ => return Ok(false),
                },
                BtfKind::FuncProto => {
                    if l.vlen() != t.vlen() {
                        return Ok(false);
                    }
                    for (a, b) in l.params().zip(t.params()) {
                        let level = level.checked_sub(1).ok_or_else(too_deep)?;
                        let (a, b) = self.bare(a.type_id, b.type_id)?;
                        if !self.compat(a.id(), b.id(), level)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (l.type_id(), t.type_id());
                }
                _ => return Ok(false),
            }
        }
        Err(too_deep())
    }

    fn matches(
        &mut self,
        local: u32,
        target: u32,
        behind_ptr: bool,
        level: u32,
    ) -> Result<bool, Refusal> {
        let (mut local, mut target, mut behind_ptr) = (local, target, behind_ptr);
        if level == 0 {
            return Err(too_deep());
        }
        for _ in 0..MAX_DEPTH {
            self.spend()?;
            let (l, t) = self.bare(local, target)?;
            if !names_match(l.name(), t.name()) {
                return Ok(false);
            }
            let same = l.kind() == t.kind();
            match l.kind() {
                BtfKind::Unkn => return Ok(same),
                BtfKind::Fwd => return Ok(fwd_matches(l, t, behind_ptr)),
                BtfKind::Enum | BtfKind::Enum64 => return self.enums_match(l, t),
                BtfKind::Struct | BtfKind::Union if behind_ptr => {
                    return Ok(same
                        || (t.kind() == BtfKind::Fwd
                            && (l.kind() == BtfKind::Union) == t.kflag()));
                }
                BtfKind::Struct | BtfKind::Union => {
                    return Ok(same && self.members_match(l, t, behind_ptr, level)?);
                }
                _ if !same => return Ok(false),
                BtfKind::Int => {
                    let signed = |t: Type<'_>| {
                        t.int().is_some_and(|i| i.encoding & int_encoding::SIGNED != 0)
                    };
                    return Ok(l.size() == t.size() && signed(l) == signed(t));
                }
                BtfKind::Ptr => {
                    behind_ptr = true;
                    (local, target) = (l.type_id(), t.type_id());
                }
                BtfKind::Array => match (l.array(), t.array()) {
                    (Some(a), Some(b)) if a.nelems == b.nelems => {
                        (local, target) = (a.elem, b.elem)
                    }
                    _ => return Ok(false),
                },
                BtfKind::FuncProto => {
                    if l.vlen() != t.vlen() {
                        return Ok(false);
                    }
                    for (a, b) in l.params().zip(t.params()) {
                        if !self.matches(a.type_id, b.type_id, behind_ptr, level - 1)? {
                            return Ok(false);
                        }
                    }
                    (local, target) = (l.type_id(), t.type_id());
                }
                _ => return Ok(false),
            }
        }
        Err(too_deep())
    }

    /// Every enumerator of the object's is the kernel's too, by name.
    fn enums_match(&mut self, l: Type<'_>, t: Type<'_>) -> Result<bool, Refusal> {
        if !t.kind().is_any_enum() || l.size() != t.size() || l.vlen() > t.vlen() {
            return Ok(false);
        }
        for e in l.enumerators() {
            let mut found = false;
            for k in t.enumerators() {
                self.spend()?;
                if names_match(l.btf().str(e.name_off), t.btf().str(k.name_off)) {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every member of the object's is the kernel's too, by name and type.
    fn members_match(
        &mut self,
        l: Type<'_>,
        t: Type<'_>,
        behind_ptr: bool,
        level: u32,
    ) -> Result<bool, Refusal> {
        if l.vlen() > t.vlen() {
            return Ok(false);
        }
        for m in l.members() {
            let mut found = false;
            for k in t.members() {
                self.spend()?;
                if names_match(l.btf().str(m.name_off), t.btf().str(k.name_off))
                    && self.matches(m.type_id, k.type_id, behind_ptr, level - 1)?
                {
                    found = true;
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn names_match(local: &str, target: &str) -> bool {
    let cut = |s: &str| essential_len(s.as_bytes());
    if target.is_empty() {
        return local.is_empty();
    }
    local.as_bytes()[..cut(local)] == target.as_bytes()[..cut(target)]
}

fn fwd_matches(l: Type<'_>, t: Type<'_>, behind_ptr: bool) -> bool {
    let is_union = l.kflag();
    match t.kind() {
        BtfKind::Fwd => is_union == t.kflag(),
        BtfKind::Struct => behind_ptr && !is_union,
        BtfKind::Union => behind_ptr && is_union,
        _ => false,
    }
}
