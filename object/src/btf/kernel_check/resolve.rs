//! Every reference (`btf_check_all_types`, `btf_resolve` and the `resolve` and `check_member` of each kind).
//!
//! A depth-first walk with the kernel's own stack, so that its limits and loops are the kernel's: pointers end a walk
//! through structs, structs end one through pointers.

use super::meta::is_identifier;
use super::{is_modifier, refuse, KernelRefusal};
use crate::btf::kind::{BtfKind, Member, Type};
use crate::btf::Btf;

/// `MAX_RESOLVE_DEPTH`.
const MAX_DEPTH: usize = 32;

type Verdict = Result<(), KernelRefusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

/// What ends the present walk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Undecided,
    Pointer,
    StructOrArray,
}

struct Vertex<'a> {
    t: Type<'a>,
    next_member: usize,
}

/// Result of one step of a walk.
enum Step<'a> {
    /// Go into this type first.
    Push(Type<'a>),
    /// Resolved to (type, size).
    Pop(u32, u32),
}

struct Resolver<'a> {
    btf: &'a Btf,
    visits: Vec<Visit>,
    ids: Vec<u32>,
    sizes: Vec<u32>,
    stack: Vec<Vertex<'a>>,
    mode: Mode,
}

fn is_composite_or_array(t: Type<'_>) -> bool {
    t.kind().is_composite() || t.kind() == BtfKind::Array
}

/// Refers to others and is not referred to.
fn is_source_only(t: Type<'_>) -> bool {
    matches!(t.kind(), BtfKind::Var | BtfKind::DeclTag | BtfKind::Datasec)
}

fn needs_resolve(t: Type<'_>) -> bool {
    is_modifier(t)
        || is_composite_or_array(t)
        || is_source_only(t)
        || matches!(t.kind(), BtfKind::Ptr | BtfKind::Func)
}

fn has_no_size(t: Type<'_>) -> bool {
    matches!(
        t.kind(),
        BtfKind::Unkn | BtfKind::Fwd | BtfKind::Func | BtfKind::FuncProto | BtfKind::DeclTag
    )
}

/// Whole bytes, a power of two of them, no offset.
fn is_regular_int(t: Type<'_>) -> bool {
    t.int().is_some_and(|i| i.offset == 0 && matches!(i.bits, 8 | 16 | 32 | 64 | 128))
}

pub(super) fn check_all(btf: &Btf) -> Verdict {
    let n = btf.own_types().count();
    let mut r = Resolver {
        btf,
        visits: vec![Visit::New; n],
        ids: vec![0; n],
        sizes: vec![0; n],
        stack: Vec::new(),
        mode: Mode::Undecided,
    };
    for t in btf.own_types() {
        if needs_resolve(t) && !r.is_done(t.id()) {
            r.resolve(t)?;
        }
        if t.kind() == BtfKind::FuncProto {
            r.func_proto(t)?;
        }
    }
    Ok(())
}

impl<'a> Resolver<'a> {
    fn own(&self, id: u32) -> Option<usize> {
        id.checked_sub(self.btf.start_id()).map(|i| i as usize)
    }

    fn is_done(&self, id: u32) -> bool {
        self.own(id).is_none_or(|i| self.visits.get(i) == Some(&Visit::Done))
    }

    fn resolved_id(&self, id: u32) -> u32 {
        self.own(id).and_then(|i| self.ids.get(i)).copied().unwrap_or(0)
    }

    fn is_sink(&self, t: Type<'_>) -> bool {
        match self.mode {
            Mode::Undecided => !needs_resolve(t),
            Mode::Pointer => !is_modifier(t) && t.kind() != BtfKind::Ptr,
            Mode::StructOrArray => !is_modifier(t) && !is_composite_or_array(t),
        }
    }

    fn is_settled(&self, t: Type<'_>) -> bool {
        self.is_sink(t) || self.is_done(t.id())
    }

    /// Type with a size behind qualifiers, and the size (`btf_type_id_size`).
    fn sized(&self, id: u32) -> Option<(Type<'a>, u32)> {
        let direct = |t: Type<'a>| match t.kind() {
            BtfKind::Array => {
                let size = self.own(t.id()).and_then(|i| self.sizes.get(i)).copied();
                Some((t, size.or_else(|| self.btf.size_of(t.id())).unwrap_or(0)))
            }
            BtfKind::Ptr => Some((t, 8)),
            k if k.refers() || has_no_size(t) => None,
            _ => Some((t, t.size())),
        };
        let t = self.btf.ty(id).filter(|t| !has_no_size(*t))?;
        if is_modifier(t) || t.kind() == BtfKind::Var {
            return direct(self.btf.ty(self.resolved_id(id))?);
        }
        direct(t)
    }

    fn push(&mut self, t: Type<'a>) -> Result<(), &'static str> {
        if self.stack.len() == MAX_DEPTH {
            return Err("Exceeded max resolving depth:32");
        }
        let slot = self.own(t.id()).and_then(|i| self.visits.get_mut(i));
        match slot {
            Some(v) if *v == Visit::New => *v = Visit::Open,
            _ => return Err("Loop detected"),
        }
        self.stack.push(Vertex { t, next_member: 0 });
        if self.mode == Mode::Undecided {
            if t.kind() == BtfKind::Ptr {
                self.mode = Mode::Pointer;
            } else if is_composite_or_array(t) {
                self.mode = Mode::StructOrArray;
            }
        }
        Ok(())
    }

    fn resolve(&mut self, root: Type<'a>) -> Verdict {
        self.mode = Mode::Undecided;
        self.stack.clear();
        if let Err(reason) = self.push(root) {
            return refuse(root, reason);
        }
        while let Some(v) = self.stack.last() {
            let (t, from) = (v.t, v.next_member);
            match self.step(t, from)? {
                Step::Push(next) => {
                    if let Err(reason) = self.push(next) {
                        return refuse(root, reason);
                    }
                }
                Step::Pop(id, size) => {
                    self.stack.pop();
                    if let Some(i) = self.own(t.id()).filter(|i| *i < self.ids.len()) {
                        self.ids[i] = id;
                        self.sizes[i] = size;
                        self.visits[i] = Visit::Done;
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, t: Type<'a>, from: usize) -> Result<Step<'a>, KernelRefusal> {
        match t.kind() {
            BtfKind::Ptr => self.pointer(t),
            BtfKind::Var => self.var(t),
            BtfKind::Array => self.array(t),
            BtfKind::Struct | BtfKind::Union => self.composite(t, from),
            BtfKind::Func => self.func(t),
            BtfKind::DeclTag => self.decl_tag(t),
            BtfKind::Datasec => self.datasec(t, from),
            _ if is_modifier(t) => self.modifier(t),
            _ => refuse(t, "Unsupported resolve"),
        }
    }

    fn next_of(&self, t: Type<'a>) -> Result<Type<'a>, KernelRefusal> {
        match t.target().filter(|n| !is_source_only(*n)) {
            Some(next) => Ok(next),
            None => refuse(t, "Invalid type_id"),
        }
    }

    /// A pointer at which resolving a qualifier stopped, to be gone on with.
    fn stopped_pointer(&self, next: Type<'a>) -> Option<Type<'a>> {
        let resolved = self.btf.ty(self.resolved_id(next.id())).filter(|_| is_modifier(next))?;
        (resolved.kind() == BtfKind::Ptr && !self.is_settled(resolved)).then_some(resolved)
    }

    /// Where a pointer or qualifier ends: at something with a size, or at void, FWD or FUNC_PROTO.
    fn end_of(&self, t: Type<'a>, next: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        if let Some((sized, _)) = self.sized(next.id()) {
            return Ok(Step::Pop(sized.id(), 0));
        }
        let end = match self.is_done(next.id()) {
            true => self.resolved_id(next.id()),
            false => next.id(),
        };
        match self.btf.kind(end) {
            Some(BtfKind::Unkn | BtfKind::Fwd | BtfKind::FuncProto) => Ok(Step::Pop(end, 0)),
            _ => refuse(t, "Invalid type_id"),
        }
    }

    fn modifier(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let next = self.next_of(t)?;
        if !self.is_settled(next) {
            return Ok(Step::Push(next));
        }
        self.end_of(t, next)
    }

    fn pointer(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let next = self.next_of(t)?;
        if !self.is_settled(next) {
            return Ok(Step::Push(next));
        }
        match self.stopped_pointer(next) {
            Some(p) => Ok(Step::Push(p)),
            None => self.end_of(t, next),
        }
    }

    fn var(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let next = self.next_of(t)?;
        if !self.is_settled(next) {
            return Ok(Step::Push(next));
        }
        if let Some(p) = self.stopped_pointer(next) {
            return Ok(Step::Push(p));
        }
        match self.sized(next.id()) {
            Some((sized, _)) => Ok(Step::Pop(sized.id(), 0)),
            None => refuse(t, "Invalid type_id"),
        }
    }

    fn array(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let Some(a) = t.array() else { return refuse(t, "Invalid elem") };
        let usable = |id| self.btf.ty(id).filter(|n| !has_no_size(*n) && !is_source_only(*n));
        let Some(index) = usable(a.index) else { return refuse(t, "Invalid index") };
        if !self.is_settled(index) {
            return Ok(Step::Push(index));
        }
        if !self.sized(a.index).is_some_and(|(i, _)| is_regular_int(i)) {
            return refuse(t, "Invalid index");
        }
        let Some(elem) = usable(a.elem) else { return refuse(t, "Invalid elem") };
        if !self.is_settled(elem) {
            return Ok(Step::Push(elem));
        }
        let Some((elem, size)) = self.sized(a.elem) else { return refuse(t, "Invalid elem") };
        if elem.kind() == BtfKind::Int && !is_regular_int(elem) {
            return refuse(t, "Invalid array of int");
        }
        match size.checked_mul(a.nelems) {
            Some(total) => Ok(Step::Pop(elem.id(), total)),
            None => refuse(t, "Array size overflows U32_MAX"),
        }
    }

    fn composite(&mut self, t: Type<'a>, from: usize) -> Result<Step<'a>, KernelRefusal> {
        // The member that was gone into is checked now that its size is known.
        for (i, m) in t.members().enumerate().skip(from.saturating_sub(1)) {
            let usable = self.btf.ty(m.type_id).filter(|n| !has_no_size(*n) && !is_source_only(*n));
            let Some(mt) = usable else { return refuse(t, "Invalid member") };
            if i + 1 != from && !self.is_settled(mt) {
                self.set_next(i + 1);
                return Ok(Step::Push(mt));
            }
            self.member(t, m, mt)?;
        }
        Ok(Step::Pop(0, 0))
    }

    fn set_next(&mut self, next: usize) {
        if let Some(v) = self.stack.last_mut() {
            v.next_member = next;
        }
    }

    /// `check_member` and `check_kflag_member` of each kind.
    fn member(&self, s: Type<'a>, m: Member, mt: Type<'a>) -> Verdict {
        let mut t = mt;
        if is_modifier(mt) {
            match self.sized(m.type_id) {
                Some((sized, _)) => t = sized,
                None => return refuse(s, "Invalid member"),
            }
        }
        let (bits, width) = (m.bit_offset, m.bitfield_size as u32);
        let size = match t.kind() {
            BtfKind::Int => return int_member(s, bits, width, t),
            BtfKind::Enum | BtfKind::Enum64 if s.kflag() => return enum_bitfield(s, bits, width),
            _ if s.kflag() && width != 0 => return refuse(s, "Invalid member bitfield_size"),
            BtfKind::Float => return float_member(s, bits, t),
            BtfKind::Ptr => 8,
            BtfKind::Array => self.sized(t.id()).map_or(0, |(_, n)| n),
            BtfKind::Struct | BtfKind::Union | BtfKind::Enum | BtfKind::Enum64 => t.size(),
            _ => return refuse(s, "Unsupported check_member"),
        };
        if bits % 8 != 0 {
            return refuse(s, "Member is not byte aligned");
        }
        // The kernel subtracts without a sign: the first pass made sure that the offset is inside.
        if s.size().wrapping_sub(bits / 8) < size {
            return refuse(s, "Member exceeds struct_size");
        }
        Ok(())
    }

    fn func(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let Some(proto) = t.target().filter(|p| p.kind() == BtfKind::FuncProto) else {
            return refuse(t, "Invalid type_id");
        };
        match proto.params().position(|p| p.name_off == 0 && p.type_id != 0) {
            Some(i) => refuse(t, format!("Invalid arg#{}", i + 1)),
            None => Ok(Step::Pop(proto.id(), 0)),
        }
    }

    fn decl_tag(&self, t: Type<'a>) -> Result<Step<'a>, KernelRefusal> {
        let is_target = |n: &Type<'_>| {
            n.kind().is_composite()
                || matches!(n.kind(), BtfKind::Func | BtfKind::Var | BtfKind::Typedef)
        };
        let Some(next) = t.target().filter(is_target) else { return refuse(t, "Invalid type_id") };
        if !self.is_settled(next) {
            return Ok(Step::Push(next));
        }
        if t.component_idx() != -1 {
            let count = match next.kind() {
                BtfKind::Var | BtfKind::Typedef => 0,
                BtfKind::Func => next.target().map_or(0, |p| p.vlen()),
                _ => next.vlen(),
            };
            if t.component_idx() as u32 as usize >= count {
                return refuse(t, "Invalid component_idx");
            }
        }
        Ok(Step::Pop(next.id(), 0))
    }

    fn datasec(&mut self, t: Type<'a>, from: usize) -> Result<Step<'a>, KernelRefusal> {
        self.mode = Mode::Undecided;
        for (i, v) in t.vars().enumerate().skip(from) {
            let Some(var) = self.btf.ty(v.type_id).filter(|n| n.kind() == BtfKind::Var) else {
                return refuse(t, "Not a VAR kind member");
            };
            if !self.is_settled(var) {
                // The kernel goes on behind a variable it had to go into, without looking at its size.
                self.set_next(i + 1);
                return Ok(Step::Push(var));
            }
            match self.sized(var.type_id()) {
                None => return refuse(t, "Invalid type"),
                Some((_, size)) if v.size < size => return refuse(t, "Invalid size"),
                Some(_) => {}
            }
        }
        Ok(Step::Pop(0, 0))
    }

    fn func_proto(&mut self, t: Type<'a>) -> Verdict {
        if t.type_id() != 0 {
            self.in_prototype(t, t.type_id(), "Invalid return type")?;
        }
        let mut params: Vec<_> = t.params().collect();
        if let Some(last) = params.last().copied().filter(|p| p.type_id == 0) {
            if last.name_off != 0 {
                return refuse(t, format!("Invalid arg#{}", params.len()));
            }
            params.pop();
        }
        for (i, p) in params.iter().enumerate() {
            let invalid = format!("Invalid arg#{}", i + 1);
            if p.name_off != 0 && !is_identifier(self.btf, p.name_off) {
                return refuse(t, invalid);
            }
            self.in_prototype(t, p.type_id, &invalid)?;
        }
        Ok(())
    }

    /// A type that a prototype names must resolve to one with a size.
    fn in_prototype(&mut self, proto: Type<'a>, id: u32, invalid: &str) -> Verdict {
        let Some(t) = self.btf.ty(id).filter(|t| !is_source_only(*t)) else {
            return refuse(proto, invalid);
        };
        if needs_resolve(t) && !self.is_done(id) {
            self.resolve(t)?;
        }
        if self.sized(id).is_none() {
            return refuse(proto, invalid);
        }
        Ok(())
    }
}

fn int_member(s: Type<'_>, bits: u32, width: u32, t: Type<'_>) -> Verdict {
    let Some(int) = t.int() else { return refuse(s, "Invalid member base type") };
    let (mut start, mut width) = (bits as u64, width as u64);
    if s.kflag() {
        if !is_regular_int(t) {
            return refuse(s, "Invalid member base type");
        }
        if width == 0 {
            if start % 8 != 0 {
                return refuse(s, "Invalid member offset");
            }
            width = int.bits as u64;
        } else if width > int.bits as u64 {
            return refuse(s, "Invalid member bitfield_size");
        }
    } else {
        start += int.offset as u64;
        if start > u32::MAX as u64 {
            return refuse(s, "bits_offset exceeds U32_MAX");
        }
        width = int.bits as u64;
    }
    let copied = width + start % 8;
    if copied > 128 {
        return refuse(s, "nr_copy_bits exceeds 128");
    }
    if start / 8 + copied.div_ceil(8) > s.size() as u64 {
        return refuse(s, "Member exceeds struct_size");
    }
    Ok(())
}

fn enum_bitfield(s: Type<'_>, bits: u32, width: u32) -> Verdict {
    let width = match width {
        0 if !bits.is_multiple_of(8) => return refuse(s, "Member is not byte aligned"),
        0 => 32,
        n if n > 32 => return refuse(s, "Invalid member bitfield_size"),
        n => n,
    };
    if (bits as u64 + width as u64).div_ceil(8) > s.size() as u64 {
        return refuse(s, "Member exceeds struct_size");
    }
    Ok(())
}

fn float_member(s: Type<'_>, bits: u32, t: Type<'_>) -> Verdict {
    let align = t.size().min(8) * 8;
    if align == 0 || !bits.is_multiple_of(align) {
        return refuse(s, "Member is not properly aligned");
    }
    if bits as u64 / 8 + t.size() as u64 > s.size() as u64 {
        return refuse(s, "Member exceeds struct_size");
    }
    Ok(())
}
