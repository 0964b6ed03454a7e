//! Following references: qualifiers, sizes, alignment, prototypes.
//!
//! Every walk is bounded, so that cyclic or hostile type graphs end in `None`.

use super::kind::{BtfKind, Type};
use super::Btf;

/// `MAX_RESOLVE_DEPTH` of libbpf: hops along typedefs, qualifiers and array elements.
const MAX_DEPTH: usize = 32;
/// Bound on types visited by one [`Btf::align_of`]: nested structs can fan out exponentially.
const MAX_ALIGN_STEPS: u32 = 1 << 16;

/// Names of the integer type that tells the pointer size (libbpf's `determine_ptr_size`).
const LONG_ALIASES: [&str; 11] = [
    "long",
    "long int",
    "int long",
    "unsigned long",
    "long unsigned",
    "unsigned long int",
    "unsigned int long",
    "long unsigned int",
    "long int unsigned",
    "int unsigned long",
    "int long unsigned",
];

impl Btf {
    /// Follows hops while `step` says so; `None` for a bad id or a cycle.
    fn follow(&self, id: u32, step: impl Fn(BtfKind) -> bool) -> Option<Type<'_>> {
        let mut t = self.ty(id)?;
        // A chain without repetition is no longer than the number of types.
        for _ in 0..=self.type_count() {
            if !step(t.kind()) {
                return Some(t);
            }
            t = t.target()?;
        }
        None
    }

    /// Past `const`, `volatile`, `restrict` and type tags, not typedefs (kernel: `btf_type_skip_qualifiers`).
    pub fn skip_mods(&self, id: u32) -> Option<Type<'_>> {
        self.follow(id, BtfKind::is_modifier)
    }

    /// Past qualifiers and typedefs (kernel: `btf_type_skip_modifiers`; libbpf: `skip_mods_and_typedefs`).
    pub fn skip_mods_and_typedefs(&self, id: u32) -> Option<Type<'_>> {
        self.follow(id, |k| k.is_modifier() || k == BtfKind::Typedef)
    }

    /// Past qualifiers, typedefs and VAR; `None` also for void and FWD (libbpf: `btf__resolve_type`).
    pub fn resolve(&self, id: u32) -> Option<Type<'_>> {
        let t =
            self.follow(id, |k| k.is_modifier() || k == BtfKind::Typedef || k == BtfKind::Var)?;
        (!matches!(t.kind(), BtfKind::Unkn | BtfKind::Fwd)).then_some(t)
    }

    /// Pointee of a pointer behind qualifiers and typedefs, itself stripped of them
    /// (kernel: `btf_type_resolve_ptr` without its restriction on `void`).
    pub fn pointee(&self, id: u32) -> Option<Type<'_>> {
        let t = self.skip_mods_and_typedefs(id)?;
        match t.kind() {
            BtfKind::Ptr => self.skip_mods_and_typedefs(t.type_id()),
            _ => None,
        }
    }

    /// FUNC_PROTO of a pointer to function (kernel: `btf_type_resolve_func_ptr`).
    pub fn func_ptr_proto(&self, id: u32) -> Option<Type<'_>> {
        self.pointee(id).filter(|t| t.kind() == BtfKind::FuncProto)
    }

    /// FUNC_PROTO of a FUNC.
    pub fn func_proto(&self, func_id: u32) -> Option<Type<'_>> {
        let f = self.ty(func_id).filter(|t| t.kind() == BtfKind::Func)?;
        f.target().filter(|t| t.kind() == BtfKind::FuncProto)
    }

    /// Size in bytes; `None` for void, functions, forward declarations, cycles, and 4 GiB or more
    /// (libbpf: `btf__resolve_size`).
    pub fn size_of(&self, id: u32) -> Option<u32> {
        let mut t = self.ty(id)?;
        let mut nelems = 1u32;
        for _ in 0..MAX_DEPTH {
            let size = match t.kind() {
                BtfKind::Int
                | BtfKind::Struct
                | BtfKind::Union
                | BtfKind::Enum
                | BtfKind::Enum64
                | BtfKind::Datasec
                | BtfKind::Float => t.size(),
                BtfKind::Ptr => self.ptr_size(),
                BtfKind::Array => {
                    let a = t.array()?;
                    nelems = nelems.checked_mul(a.nelems)?;
                    t = self.ty(a.elem)?;
                    continue;
                }
                BtfKind::Unkn | BtfKind::Fwd | BtfKind::Func | BtfKind::FuncProto => return None,
                _ => {
                    t = t.target()?;
                    continue;
                }
            };
            return nelems.checked_mul(size);
        }
        None
    }

    /// Alignment in bytes, 1 for a packed struct (libbpf: `btf__align_of`).
    pub fn align_of(&self, id: u32) -> Option<u32> {
        let mut steps = MAX_ALIGN_STEPS;
        self.align_within(id, 0, &mut steps)
    }

    fn align_within(&self, id: u32, depth: usize, steps: &mut u32) -> Option<u32> {
        *steps = steps.checked_sub(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        let t = self.ty(id)?;
        match t.kind() {
            BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Float => {
                Some(t.size().min(self.ptr_size()))
            }
            BtfKind::Ptr => Some(self.ptr_size()),
            BtfKind::Array => self.align_within(t.array()?.elem, depth + 1, steps),
            BtfKind::Struct | BtfKind::Union => {
                let mut max = 1u32;
                for m in t.members() {
                    let align =
                        self.align_within(m.type_id, depth + 1, steps).filter(|a| *a > 0)?;
                    max = max.max(align);
                    if m.bitfield_size == 0 && m.bit_offset % align.checked_mul(8)? != 0 {
                        return Some(1);
                    }
                }
                Some(if t.size() % max == 0 { max } else { 1 })
            }
            k if k.is_modifier() || k == BtfKind::Typedef => {
                self.align_within(t.type_id(), depth + 1, steps)
            }
            _ => None,
        }
    }

    /// Pointer size in bytes: what `long` measures, 8 if there is no `long`.
    pub fn ptr_size(&self) -> u32 {
        *self.ptr_size.get_or_init(|| {
            if let Some(base) = &self.base {
                return base.ptr_size();
            }
            let long = self.own_types().find(|t| {
                t.kind() == BtfKind::Int
                    && matches!(t.size(), 4 | 8)
                    && LONG_ALIASES.contains(&t.name())
            });
            long.map_or(8, |t| t.size())
        })
    }
}
