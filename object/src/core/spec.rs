//! Accesses: parsing them in the object's BTF and finding the same ones in the kernel's
//! (`bpf_core_parse_spec`, `bpf_core_spec_match`, `bpf_core_match_member`).

use super::{compat, kinds_compat, Kind, Refusal};
use crate::btf::{essential_len, Btf, BtfKind, Type};

/// `BPF_CORE_SPEC_MAX_LEN`: steps of one access.
const MAX_LEN: usize = 64;
/// Bound on members looked at for one step: anonymous structs nest and fan out.
const MAX_MEMBERS: u32 = 1 << 20;

/// One named or indexed step.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    /// The type the step is taken in (for an index: the element's type).
    pub type_id: u32,
    pub index: u32,
    /// Member or enumerator name; `None` for an array index.
    pub name: Option<&'a str>,
}

/// An access path in one BTF.
#[derive(Clone, Debug)]
pub(super) struct Spec<'a> {
    pub btf: &'a Btf,
    pub kind: Kind,
    pub root: u32,
    pub steps: Vec<Step<'a>>,
    /// Steps with those through anonymous members counted.
    raw_len: usize,
    pub bit_offset: u32,
}

impl Spec<'_> {
    fn new(btf: &Btf, kind: Kind, root: u32) -> Spec<'_> {
        Spec { btf, kind, root, steps: Vec::new(), raw_len: 0, bit_offset: 0 }
    }

    /// `.a.b[2]` for messages.
    pub fn path(&self) -> String {
        let step = |(i, s): (usize, &Step<'_>)| match s.name {
            Some(n) if self.kind.is_enumval() => format!("::{n}"),
            Some(n) => format!(".{n}"),
            None if i > 0 || s.index > 0 => format!("[{}]", s.index),
            None => String::new(),
        };
        self.steps.iter().enumerate().map(step).collect()
    }

    fn add_bits(&mut self, index: u32, size: u32) {
        self.bit_offset = self.bit_offset.wrapping_add(index.wrapping_mul(size).wrapping_mul(8));
    }
}

/// True for a zero-length array that ends its struct: any index goes.
fn is_flexible(btf: &Btf, before: Option<&Step<'_>>, nelems: u32) -> bool {
    let Some(step) = before.filter(|s| s.name.is_some() && nelems == 0) else { return false };
    btf.ty(step.type_id).is_some_and(|t| step.index as usize + 1 == t.vlen())
}

/// Numbers of `0:1:2`; `None` if there are none, too many, or something else.
fn numbers(text: &str) -> Option<Vec<i32>> {
    if text.is_empty() || text.starts_with(':') {
        return None;
    }
    let parts: Vec<i32> = text.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    (parts.len() <= MAX_LEN).then_some(parts)
}

/// `None` if the access does not fit the type.
pub(super) fn parse_spec<'a>(btf: &'a Btf, root: u32, kind: Kind, text: &str) -> Option<Spec<'a>> {
    let mut spec = Spec::new(btf, kind, root);
    if kind.is_type() {
        return (text == "0").then_some(spec);
    }
    let raw = numbers(text)?;
    let mut t = btf.skip_mods_and_typedefs(root)?;
    let first = u32::try_from(*raw.first()?).ok()?;
    spec.raw_len = raw.len();
    if kind.is_enumval() {
        let name = t.enumerators().nth(first as usize).filter(|_| raw.len() == 1)?;
        spec.steps.push(Step { type_id: t.id(), index: first, name: Some(btf.str(name.name_off)) });
        return Some(spec);
    }
    spec.steps.push(Step { type_id: t.id(), index: first, name: None });
    spec.add_bits(first, btf.size_of(t.id())?);
    for index in &raw[1..] {
        let index = u32::try_from(*index).ok()?;
        t = parse_step(&mut spec, btf.skip_mods_and_typedefs(t.id())?, index)?;
    }
    Some(spec)
}

/// One step into `t`; gives the type stepped to.
fn parse_step<'a>(spec: &mut Spec<'a>, t: Type<'a>, index: u32) -> Option<Type<'a>> {
    let btf = spec.btf;
    if t.kind().is_composite() {
        let m = t.member(index as usize)?;
        spec.bit_offset = spec.bit_offset.wrapping_add(m.bit_offset);
        if m.name_off != 0 {
            let name = Some(btf.str(m.name_off)).filter(|n| !n.is_empty())?;
            spec.steps.push(Step { type_id: t.id(), index, name: Some(name) });
        }
        return btf.ty(m.type_id);
    }
    let array = t.array()?;
    let elem = btf.skip_mods_and_typedefs(array.elem)?;
    if !is_flexible(btf, spec.steps.last(), array.nelems) && index >= array.nelems {
        return None;
    }
    spec.steps.push(Step { type_id: elem.id(), index, name: None });
    spec.add_bits(index, btf.size_of(elem.id())?);
    Some(elem)
}

/// The same access in the kernel's type `root`; `Ok(None)` if that has none.
pub(super) fn match_spec<'a>(
    local: &Spec<'_>,
    btf: &'a Btf,
    root: u32,
) -> Result<Option<Spec<'a>>, Refusal> {
    let mut spec = Spec::new(btf, local.kind, root);
    if local.kind.is_type() {
        let matches = match local.kind {
            Kind::TypeMatches => compat::types_match(local.btf, local.root, btf, root)?,
            _ => compat::types_are_compat(local.btf, local.root, btf, root)?,
        };
        return Ok(matches.then_some(spec));
    }
    if local.kind.is_enumval() {
        return Ok(match_enumval(local, spec));
    }
    let mut at = root;
    for (i, step) in local.steps.iter().enumerate() {
        let t = btf.skip_mods_and_typedefs(at).ok_or("cyclic kernel type")?;
        if step.name.is_some() {
            let mut budget = MAX_MEMBERS;
            match match_member(local.btf, step, t, &mut spec, &mut budget)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
            continue;
        }
        let mut elem = t;
        if i > 0 {
            let Some(array) = t.array() else { return Ok(None) };
            if !is_flexible(btf, spec.steps.last(), array.nelems) && step.index >= array.nelems {
                return Ok(None);
            }
            elem = btf.skip_mods_and_typedefs(array.elem).ok_or("cyclic kernel type")?;
        }
        if spec.raw_len == MAX_LEN {
            return Err("access is too deep".to_string());
        }
        at = elem.id();
        spec.raw_len += 1;
        spec.steps.push(Step { type_id: at, index: step.index, name: None });
        spec.add_bits(step.index, btf.size_of(at).ok_or("kernel type has no size")?);
    }
    Ok(Some(spec))
}

fn match_enumval<'a>(local: &Spec<'_>, mut spec: Spec<'a>) -> Option<Spec<'a>> {
    let btf = spec.btf;
    let wanted = local.steps.first()?.name?.as_bytes();
    let wanted = &wanted[..essential_len(wanted)];
    let t = btf.skip_mods_and_typedefs(spec.root).filter(|t| t.kind().is_any_enum())?;
    for (i, e) in t.enumerators().enumerate() {
        let name = btf.str(e.name_off);
        if name.as_bytes()[..essential_len(name.as_bytes())] == *wanted {
            spec.steps.push(Step { type_id: t.id(), index: i as u32, name: Some(name) });
            spec.raw_len += 1;
            return Some(spec);
        }
    }
    None
}

/// Finds a member by name, through anonymous members; gives the member's type.
fn match_member<'a>(
    local_btf: &Btf,
    step: &Step<'_>,
    t: Type<'a>,
    spec: &mut Spec<'a>,
    budget: &mut u32,
) -> Result<Option<u32>, Refusal> {
    if !t.kind().is_composite() {
        return Ok(None);
    }
    let btf = spec.btf;
    let local = local_btf
        .ty(step.type_id)
        .and_then(|t| t.member(step.index as usize))
        .ok_or("member vanished")?;
    for (i, m) in t.members().enumerate() {
        *budget = budget.checked_sub(1).ok_or("kernel type has too many members")?;
        if spec.raw_len == MAX_LEN {
            return Err("access is too deep".to_string());
        }
        let before = spec.bit_offset;
        spec.bit_offset = before.wrapping_add(m.bit_offset);
        spec.raw_len += 1;
        let name = btf.str(m.name_off);
        if name.is_empty() {
            let inner = btf.skip_mods_and_typedefs(m.type_id).ok_or("cyclic kernel type")?;
            if let Some(next) = match_member(local_btf, step, inner, spec, budget)? {
                return Ok(Some(next));
            }
        } else if Some(name) == step.name {
            if !fields_are_compat(local_btf, local.type_id, btf, m.type_id)? {
                return Ok(None);
            }
            spec.steps.push(Step { type_id: t.id(), index: i as u32, name: Some(name) });
            return Ok(Some(m.type_id));
        }
        spec.bit_offset = before;
        spec.raw_len -= 1;
    }
    Ok(None)
}

/// May a field of one type be read as one of the other (`bpf_core_fields_are_compat`)?
fn fields_are_compat(local_btf: &Btf, local: u32, btf: &Btf, target: u32) -> Result<bool, Refusal> {
    let (mut local, mut target) = (local, target);
    // An array of arrays without end is a cycle.
    for _ in 0..=local_btf.type_count() {
        let l = local_btf.skip_mods_and_typedefs(local).ok_or("cyclic type")?;
        let t = btf.skip_mods_and_typedefs(target).ok_or("cyclic kernel type")?;
        if l.kind().is_composite() && t.kind().is_composite() {
            return Ok(true);
        }
        if !kinds_compat(l.kind(), t.kind()) {
            return Ok(false);
        }
        return Ok(match l.kind() {
            BtfKind::Ptr | BtfKind::Float => true,
            BtfKind::Fwd | BtfKind::Enum | BtfKind::Enum64 => {
                let (a, b) = (l.name().as_bytes(), t.name().as_bytes());
                let (a, b) = (&a[..essential_len(a)], &b[..essential_len(b)]);
                a.is_empty() || b.is_empty() || a == b
            }
            BtfKind::Int => compat::ints_are_plain(l, t),
            BtfKind::Array => {
                let (Some(la), Some(ta)) = (l.array(), t.array()) else { return Ok(false) };
                (local, target) = (la.elem, ta.elem);
                continue;
            }
            _ => false,
        });
    }
    Err("cyclic type".to_string())
}
