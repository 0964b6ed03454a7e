//! What lies at an offset of a struct described by BTF (`btf_struct_walk`, `btf_struct_access`,
//! `btf_struct_ids_match` in `kernel/bpf/btf.c`).
//!
//! Walks one level of nesting after another, so that callers can stop at every
//! struct that starts at the offset.  Knows nothing of programs; what is found
//! missing is said in the kernel's words.

use std::sync::Arc;

use bpfassay_isa::Reg;
use bpfassay_object::btf::{Btf, BtfKind, Member, Type};
use bpfassay_spec::{RegBase, TypeFlags};

use super::btf_record::KptrTarget;
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::mark_btf_ld_reg;
use crate::verbose;

/// `MAX_RESOLVE_DEPTH`: hops along modifiers and arrays.
const MAX_RESOLVE_DEPTH: usize = 32;
/// Nested structs one walk may dive through; types come from outside.
const MAX_NESTING: usize = 256;

/// What a load found by walking a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BtfLoad {
    Scalar,
    /// Pointer to a struct: its BTF, id and flags.
    Ptr {
        btf: BtfObj,
        btf_id: u32,
        flags: TypeFlags,
    },
    /// Pointer to untyped memory of no size.
    Mem {
        flags: TypeFlags,
    },
}

impl BtfLoad {
    /// Puts what was found into a register.
    pub(super) fn mark(self, env: &mut Env<'_>, dst: Reg) -> Check {
        let (base, btf, id, flags) = match self {
            BtfLoad::Scalar => (RegBase::Scalar, BtfObj::PROG, 0, TypeFlags::NONE),
            BtfLoad::Ptr { btf, btf_id, flags } => (RegBase::BtfId, btf, btf_id, flags),
            BtfLoad::Mem { flags } => (RegBase::Mem, BtfObj::PROG, 0, flags),
        };
        mark_btf_ld_reg(env, dst, base, btf, id, flags)
    }
}

/// What a walk ended at (`enum bpf_struct_walk_result`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Walk {
    Scalar,
    /// Pointer to a struct, the member's name, and flags met on the way.
    Ptr {
        id: u32,
        field: String,
    },
    /// Pointer to anything else.
    PtrUntrusted,
    /// A struct that starts at the offset.
    Struct {
        id: u32,
    },
}

/// Size of a member's type, arrays flattened (`__btf_resolve_size`).
struct Resolved<'a> {
    /// Type behind modifiers; the array where it is one.
    ty: Type<'a>,
    /// Id behind modifiers, 0 where no modifier was skipped.
    id: u32,
    size: u32,
    /// Arrays: innermost element type, its id as written, number of elements.
    elem: Type<'a>,
    elem_id: u32,
    nelems: u32,
}

fn resolve_size(btf: &Btf, id: u32) -> Option<Resolved<'_>> {
    let mut ty = btf.ty(id)?;
    let mut behind = 0;
    let mut array: Option<Type<'_>> = None;
    let (mut nelems, mut elem_id) = (1u32, 0);
    for _ in 0..MAX_RESOLVE_DEPTH {
        let size = match ty.kind() {
            BtfKind::Int
            | BtfKind::Struct
            | BtfKind::Union
            | BtfKind::Enum
            | BtfKind::Enum64
            | BtfKind::Float => ty.size(),
            BtfKind::Ptr => 8,
            k if k.is_modifier() || k == BtfKind::Typedef => {
                behind = ty.type_id();
                ty = btf.ty(behind)?;
                continue;
            }
            BtfKind::Array => {
                let a = ty.array()?;
                array.get_or_insert(ty);
                nelems = nelems.checked_mul(a.nelems)?;
                elem_id = a.elem;
                ty = btf.ty(a.elem)?;
                continue;
            }
            _ => return None,
        };
        return Some(Resolved {
            ty: array.unwrap_or(ty),
            id: behind,
            size: nelems.checked_mul(size)?,
            elem: ty,
            elem_id,
            nelems,
        });
    }
    None
}

/// How a walk failed: the kernel's message and errno.
struct Miss(String, Errno);

/// Where a walk goes on after a member was found to enclose the offset.
enum Step<'a> {
    Done(Walk),
    Into(Type<'a>, i32),
}

/// One walk from `id` (`btf_struct_walk`).  `flags` collects what the way says of the result; `flexible` arrays may
/// go on behind the struct.
fn struct_walk(
    btf: &Btf,
    id: u32,
    off: i32,
    size: i32,
    flags: &mut TypeFlags,
    flexible: bool,
    unions_hide: bool,
) -> Result<Walk, Miss> {
    let Some(mut t) = btf.ty(id) else {
        return Err(Miss(String::new(), Errno::EINVAL));
    };
    let mut off = off;
    for _ in 0..MAX_NESTING {
        if t.kind().is_modifier() || t.kind() == BtfKind::Typedef {
            t = match btf.skip_mods_and_typedefs(t.type_id()) {
                Some(t) => t,
                None => return Err(Miss(String::new(), Errno::EINVAL)),
            };
        }
        match walk_level(btf, t, off, size, flags, flexible, unions_hide)? {
            Step::Done(w) => return Ok(w),
            Step::Into(next, at) => (t, off) = (next, at),
        }
    }
    Err(Miss(String::new(), Errno::EINVAL))
}

/// A name as messages show it (`__btf_name_by_offset`).
pub(super) fn shown(name: &str) -> &str {
    if name.is_empty() {
        "(anon)"
    } else {
        name
    }
}

fn walk_level<'a>(
    btf: &'a Btf,
    t: Type<'a>,
    off: i32,
    size: i32,
    flags: &mut TypeFlags,
    flexible: bool,
    unions_hide: bool,
) -> Result<Step<'a>, Miss> {
    let name = shown(t.name());
    if !t.kind().is_composite() {
        return Err(Miss(format!("Type '{name}' is not a struct\n"), Errno::EINVAL));
    }
    // A union does not say which member is in use; one with a single member hides nothing.
    if unions_hide && t.kind() == BtfKind::Union && t.vlen() != 1 {
        *flags |= TypeFlags::PTR_UNTRUSTED;
    }
    let end = off.wrapping_add(size) as u32;
    if end > t.size() {
        return beyond_end(btf, t, off, size, flexible);
    }
    for m in t.members() {
        let moff = m.byte_offset();
        if end <= moff {
            break;
        }
        if m.bitfield_size != 0 {
            let end_bit = m.bit_offset + m.bitfield_size as u32;
            if off as u32 <= moff && end_bit.div_ceil(8) <= end {
                return Ok(Step::Done(Walk::Scalar));
            }
            continue;
        }
        if (off as u32) < moff {
            break;
        }
        if let Some(step) = enter_member(btf, t, &m, off, size, flags)? {
            return Ok(step);
        }
    }
    Err(Miss(format!("struct {name} doesn't have field at offset {off}\n"), Errno::EINVAL))
}

/// Past the end of a struct only a flexible array at its end can be meant.
fn beyond_end<'a>(
    btf: &'a Btf,
    t: Type<'a>,
    off: i32,
    size: i32,
    flexible: bool,
) -> Result<Step<'a>, Miss> {
    let element = || {
        let last = t.members().next_back()?;
        let array = btf.skip_mods_and_typedefs(last.type_id)?.array()?;
        let moff = last.byte_offset();
        if array.nelems != 0 || (off as u32) < moff {
            return None;
        }
        let elem = btf.skip_mods_and_typedefs(array.elem)?;
        match elem.kind() {
            BtfKind::Int => Some(Step::Done(Walk::Scalar)),
            k if k.is_composite() => {
                Some(Step::Into(elem, (off as u32 - moff).checked_rem(elem.size())? as i32))
            }
            _ => None,
        }
    };
    element().filter(|_| flexible).ok_or_else(|| {
        let text = format!(
            "access beyond struct {} at off {} size {}\n",
            shown(t.name()),
            off as u32,
            size as u32
        );
        Miss(text, Errno::EACCES)
    })
}

/// The member starts at or before the offset; None if it ends before it.
fn enter_member<'a>(
    btf: &'a Btf,
    t: Type<'a>,
    m: &Member,
    off: i32,
    size: i32,
    flags: &mut TypeFlags,
) -> Result<Option<Step<'a>>, Miss> {
    let (tname, mname) = (shown(t.name()), shown(btf.str(m.name_off)));
    let Some(r) = resolve_size(btf, m.type_id) else {
        return Err(Miss(format!("field {mname} doesn't have size\n"), Errno::EFAULT));
    };
    let uoff = off as u32;
    let mut moff = m.byte_offset();
    let true_end = moff + r.size;
    if uoff >= true_end {
        return Ok(None);
    }
    let (mut mtype, mut msize) = (r.ty, r.size);
    let mut mid = if r.id != 0 { r.id } else { m.type_id };
    if mtype.kind() == BtfKind::Array {
        // An array is as many members as it has elements.
        msize /= r.nelems.max(1);
        moff += (uoff - moff) / msize.max(1) * msize;
        mtype = r.elem;
        mid = r.elem_id;
    }
    if mtype.kind().is_composite() {
        if uoff == moff {
            return Ok(Some(Step::Done(Walk::Struct { id: mid })));
        }
        return Ok(Some(Step::Into(mtype, off - moff as i32)));
    }
    if mtype.kind() == BtfKind::Ptr {
        if msize != size as u32 || uoff != moff {
            let text = format!(
                "cannot access ptr member {mname} with moff {moff} in struct {tname} with off {uoff} size {}\n",
                size as u32
            );
            return Err(Miss(text, Errno::EACCES));
        }
        return Ok(Some(Step::Done(pointer_member(btf, mtype, mname, flags))));
    }
    if uoff + size as u32 > true_end && !flags.intersects(TypeFlags::PTR_UNTRUSTED) {
        let text = format!(
            "access beyond the end of member {mname} (mend:{true_end}) in struct {tname} with off {uoff} size {}\n",
            size as u32
        );
        return Err(Miss(text, Errno::EACCES));
    }
    Ok(Some(Step::Done(Walk::Scalar)))
}

/// Flag of a `__user`, `__percpu` or `__rcu` pointee.
pub(super) fn tag_flag(pointee: Type<'_>) -> TypeFlags {
    if pointee.kind() != BtfKind::TypeTag || pointee.kflag() {
        return TypeFlags::NONE;
    }
    match pointee.name() {
        "user" => TypeFlags::MEM_USER,
        "percpu" => TypeFlags::MEM_PERCPU,
        "rcu" => TypeFlags::MEM_RCU,
        _ => TypeFlags::NONE,
    }
}

fn pointer_member(btf: &Btf, ptr: Type<'_>, mname: &str, flags: &mut TypeFlags) -> Walk {
    match btf.skip_mods_and_typedefs(ptr.type_id()) {
        Some(s) if s.kind().is_composite() => {
            if let Some(pointee) = ptr.target() {
                *flags |= tag_flag(pointee);
            }
            Walk::Ptr { id: s.id(), field: mname.to_string() }
        }
        _ => Walk::PtrUntrusted,
    }
}

/// The BTF of a register that points to a described type.
pub(super) fn btf_of(env: &Env<'_>, obj: BtfObj) -> Check<Arc<Btf>> {
    env.btf(obj)
        .cloned()
        .ok_or_else(|| Stop::unsupported("BTF that the kernel profile does not have"))
}

fn miss<T>(env: &mut Env<'_>, m: Miss) -> Check<T> {
    verbose!(env, "{}", m.0);
    Err(m.1.into())
}

/// What a load of `size` bytes at `off` of the register's type gives, and the name of the
/// pointer member it found (`btf_struct_access`).
pub(super) fn btf_struct_access(
    env: &mut Env<'_>,
    reg: &RegState,
    off: i32,
    size: i32,
) -> Check<(BtfLoad, String)> {
    let Some(obj) = reg.btf() else {
        return Err(Stop::unsupported("BTF pointer without BTF"));
    };
    let is_alloc = reg.ty.has(TypeFlags::MEM_ALLOC);
    if is_alloc {
        check_special_fields(env, obj, reg.btf_id(), off, size)?;
    }
    let btf = btf_of(env, obj)?;
    let (mut id, mut off) = (reg.btf_id(), off);
    let mut flags = TypeFlags::NONE;
    let flexible = !is_alloc || !env.kernel.features.allocated_objects_end;
    let hide = env.kernel.features.unions_hide_members;
    for _ in 0..MAX_NESTING {
        match struct_walk(&btf, id, off, size, &mut flags, flexible, hide) {
            Err(m) => return miss(env, m),
            // A program's own types hold no kernel pointers.
            Ok(Walk::Ptr { .. }) if is_alloc => return Ok((BtfLoad::Scalar, String::new())),
            Ok(Walk::Ptr { id, field }) => {
                return Ok((BtfLoad::Ptr { btf: obj, btf_id: id, flags }, field));
            }
            Ok(Walk::PtrUntrusted) if !env.kernel.features.untrusted_memory => {
                return Ok((BtfLoad::Scalar, String::new()));
            }
            Ok(Walk::PtrUntrusted) => {
                let flags = TypeFlags::MEM_RDONLY | TypeFlags::PTR_UNTRUSTED;
                return Ok((BtfLoad::Mem { flags }, String::new()));
            }
            Ok(Walk::Scalar) => return Ok((BtfLoad::Scalar, String::new())),
            Ok(Walk::Struct { id: inner }) => (id, off) = (inner, 0),
        }
    }
    Err(Errno::EINVAL.into())
}

fn check_special_fields(env: &mut Env<'_>, btf: BtfObj, id: u32, off: i32, size: i32) -> Check {
    let Some(record) = env.struct_meta(btf, id).cloned() else { return Ok(()) };
    for f in &record.fields {
        if (off as u32) < f.offset + f.size && f.offset < off.wrapping_add(size) as u32 {
            verbose!(env, "direct access to {} is disallowed\n", f.kind.name());
            return Err(Errno::EACCES.into());
        }
    }
    Ok(())
}

/// Same type, though a module's BTF may stand in for its base (`btf_types_are_same`).
pub fn btf_types_are_same(env: &Env<'_>, a: KptrTarget, b: KptrTarget) -> bool {
    if a.btf_id != b.btf_id {
        return false;
    }
    if a.btf == b.btf {
        return true;
    }
    let base_end = env.btf(BtfObj::VMLINUX).map_or(0, |b| b.type_count());
    a.btf != BtfObj::PROG && b.btf != BtfObj::PROG && a.btf_id < base_end
}

/// The wanted type stands at `off` of `from`, itself or nested at that place
/// (`btf_struct_ids_match`); `strict` asks for the type itself.
pub fn btf_struct_ids_match(
    env: &mut Env<'_>,
    from: KptrTarget,
    off: i32,
    need: KptrTarget,
    strict: bool,
) -> bool {
    if off == 0 && btf_types_are_same(env, from, need) {
        return true;
    }
    if strict {
        return false;
    }
    let Ok(btf) = btf_of(env, from.btf) else { return false };
    let (mut id, mut off) = (from.btf_id, off);
    let mut flags = TypeFlags::NONE;
    let hide = env.kernel.features.unions_hide_members;
    for _ in 0..MAX_NESTING {
        match struct_walk(&btf, id, off, 1, &mut flags, true, hide) {
            Ok(Walk::Struct { id: inner }) => (id, off) = (inner, 0),
            Err(m) => {
                verbose!(env, "{}", m.0);
                return false;
            }
            Ok(_) => return false,
        }
        if btf_types_are_same(env, KptrTarget { btf: from.btf, btf_id: id }, need) {
            return true;
        }
    }
    false
}
