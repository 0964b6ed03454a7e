//! The abstract register: one flat record in the kernel's field order
//! (`struct bpf_reg_state`, `include/linux/bpf_verifier.h`).
//!
//! The order matters because state comparison looks at every field up to `id`,
//! stale ones included.  The two raw words stand for the kernel's union; the
//! accessors by register type give the safe view.

use bpfassay_isa::bits::{Bits, Machine, Word, S32, S64, U32, U64};
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::arc::Arc;
use super::tnum::Tnum;

/// Index into [`crate::env::Env::maps`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MapId(pub u32);

/// Which BTF a type id belongs to: 0 is the program's own, 1 vmlinux, 2 and up modules
/// (index into [`crate::env::Env::btfs`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BtfObj(pub u32);

impl BtfObj {
    pub const PROG: BtfObj = BtfObj(0);
    pub const VMLINUX: BtfObj = BtfObj(1);
}

/// Upper bit of `id`: the register equals another one plus `off`, 64 bits wide (`BPF_ADD_CONST64`).
pub const ADD_CONST64: u32 = 1 << 31;
/// The same of a 32-bit addition: the sum is zero-extended (`BPF_ADD_CONST32`).
pub const ADD_CONST32: u32 = 1 << 30;
/// Both (`BPF_ADD_CONST`).
pub const ADD_CONST: u32 = ADD_CONST64 | ADD_CONST32;

/// `subreg_def` of a register whose upper half is defined (`DEF_NOT_SUBREG`).
pub const DEF_NOT_SUBREG: i32 = 0;

/// `range` of a packet pointer known to be at least at the packet's end (`AT_PKT_END`).
pub const AT_PKT_END: i32 = -1;
/// `range` of a packet pointer known to be at least one byte beyond it (`BEYOND_PKT_END`).
pub const BEYOND_PKT_END: i32 = -2;

/// State of an open-coded iterator slot (`enum bpf_iter_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum IterState {
    /// Non-first slot.
    Invalid = 0,
    Active = 1,
    Drained = 2,
}

/// What a dynptr points to (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DynptrType {
    Invalid = 0,
    Local = 1,
    Ringbuf = 2,
    Skb = 3,
    Xdp = 4,
    SkbMeta = 5,
    File = 6,
}

/// Abstract value of a register or of a spilled register, over the words of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct RegState<B: Bits = Machine> {
    pub ty: RegType,
    /// Pointers: fixed part of the offset, bytes.  Linked scalars: constant delta to the id's base.
    pub off: i32,
    raw: [U64<B>; 2],
    /// Scalars: the value.  Pointers: the variable part of the offset, bytes.
    pub var_off: Tnum<U64<B>>,
    pub smin: S64<B>,
    pub smax: S64<B>,
    pub umin: U64<B>,
    pub umax: U64<B>,
    pub s32_min: S32<B>,
    pub s32_max: S32<B>,
    pub u32_min: U32<B>,
    pub u32_max: U32<B>,
    /// Links registers that share a value, an offset or a null check; 0 for none.
    pub id: u32,
    /// Reference this register must release; 0 for none.
    pub ref_obj_id: u32,
    /// What this register's object is part of and ends with (kernels with `references_by_id`); 0 for none.
    pub parent_id: u32,
    /// Stack pointers: the frame pointed into.
    pub frameno: u32,
    /// Instruction index + 1 of the 32-bit definition, or [`DEF_NOT_SUBREG`].
    pub subreg_def: i32,
    pub precise: bool,
    /// Which ranges are arcs that no view tells (kernels with `circular_ranges`): [`HIDES_64`], [`HIDES_32`].
    hides: u8,
    /// First value and length of such an arc of the low half.
    arc32: [U32<B>; 2],
}

/// The 64-bit arc of a scalar is in the union's two words.
const HIDES_64: u8 = 1;
/// The 32-bit arc is in `arc32`.
const HIDES_32: u8 = 2;

impl<B: Bits> RegState<B> {
    /// All zero: NOT_INIT with zero bounds (a zero-allocated record).
    pub const ZEROED: RegState<B> = RegState {
        ty: RegType::of(RegBase::NotInit),
        off: 0,
        raw: [U64::<B>::ZERO; 2],
        var_off: Tnum { value: U64::<B>::ZERO, mask: U64::<B>::ZERO },
        smin: S64::<B>::ZERO,
        smax: S64::<B>::ZERO,
        umin: U64::<B>::ZERO,
        umax: U64::<B>::ZERO,
        s32_min: S32::<B>::ZERO,
        s32_max: S32::<B>::ZERO,
        u32_min: U32::<B>::ZERO,
        u32_max: U32::<B>::ZERO,
        id: 0,
        ref_obj_id: 0,
        parent_id: 0,
        frameno: 0,
        subreg_def: DEF_NOT_SUBREG,
        precise: false,
        hides: 0,
        arc32: [U32::<B>::ZERO; 2],
    };

    #[inline]
    pub fn base(&self) -> RegBase {
        self.ty.base()
    }

    #[inline]
    pub fn flags(&self) -> TypeFlags {
        self.ty.flags()
    }

    /// Offset of a pointer whose variable part is known, bytes.
    #[inline]
    pub fn const_off(&self) -> i32
    where
        U64<B>: Into<u64>,
    {
        let variable: u64 = self.var_off.value.into();
        self.off.wrapping_add(variable as i32)
    }

    /// True for a scalar (base and flags).
    #[inline]
    pub fn is_scalar(&self) -> bool {
        self.ty == RegBase::Scalar
    }

    /// The union's two words, for exact comparison.
    #[inline]
    pub fn raw(&self) -> [U64<B>; 2] {
        self.raw
    }

    /// Copies the union from another register.
    #[inline]
    pub fn set_raw(&mut self, raw: [U64<B>; 2]) {
        self.raw = raw;
    }

    /// Zeroes the type, offset and union: what `memset(reg, 0, offsetof(var_off))` leaves.
    #[inline]
    pub fn clear_identity(&mut self) {
        self.ty = RegType::of(RegBase::NotInit);
        self.off = 0;
        self.raw = [U64::<B>::ZERO; 2];
        self.hides &= !HIDES_64;
    }

    /// The 64-bit arc that no view tells, if there is one.
    pub(super) fn hidden_arc64(&self) -> Option<Arc<U64<B>>> {
        (self.hides & HIDES_64 != 0).then(|| Arc { base: self.raw[0], len: self.raw[1] })
    }

    pub(super) fn hidden_arc32(&self) -> Option<Arc<U32<B>>> {
        (self.hides & HIDES_32 != 0).then(|| Arc { base: self.arc32[0], len: self.arc32[1] })
    }

    /// Keeps an arc that no view tells, or forgets it; of pointers, whose offsets are never that wide, none is kept.
    #[inline]
    pub fn hide_arc64(&mut self, arc: Option<Arc<U64<B>>>) {
        match arc.filter(|_| self.is_scalar()) {
            Some(arc) => {
                self.raw = [arc.base, arc.len];
                self.hides |= HIDES_64;
            }
            None if self.hides & HIDES_64 != 0 => {
                self.raw = [U64::<B>::ZERO; 2];
                self.hides &= !HIDES_64;
            }
            None => {}
        }
    }

    /// The same of the low half.
    #[inline]
    pub fn hide_arc32(&mut self, arc: Option<Arc<U32<B>>>) {
        if arc.is_none() && self.hides & HIDES_32 == 0 {
            return;
        }
        self.arc32 = arc.map_or([U32::<B>::ZERO; 2], |a| [a.base, a.len]);
        self.hides = self.hides & !HIDES_32 | if arc.is_some() { HIDES_32 } else { 0 };
    }

    #[inline]
    pub(super) fn drop_hidden_arcs(&mut self) {
        if self.hides != 0 {
            self.hide_arc64(None);
            self.hide_arc32(None);
        }
    }

    /// The arcs that no view tells are the same.
    #[inline]
    pub fn hides_the_same(&self, o: &RegState<B>) -> bool {
        self.hides == o.hides && self.arc32 == o.arc32
    }
}

/// The union, as a register's type reads it.
impl RegState {
    #[inline]
    fn low32(&self, word: usize) -> u32 {
        self.raw[word] as u32
    }

    #[inline]
    fn set_low32(&mut self, word: usize, v: u32) {
        self.raw[word] = (self.raw[word] & !0xffff_ffff) | v as u64;
    }

    #[inline]
    fn set_high32(&mut self, word: usize, v: u32) {
        self.raw[word] = (self.raw[word] & 0xffff_ffff) | (v as u64) << 32;
    }

    /// Packet pointers: bytes known to be readable from the pointer's base; negative values are
    /// the `AT_PKT_END`/`BEYOND_PKT_END` marks of a packet end comparison.
    #[inline]
    pub fn range(&self) -> i32 {
        self.low32(0) as i32
    }

    #[inline]
    pub fn set_range(&mut self, range: i32) {
        self.set_low32(0, range as u32);
    }

    /// Map pointers and values: the map.
    #[inline]
    pub fn map(&self) -> Option<MapId> {
        (self.raw[0] != 0).then(|| MapId(self.raw[0].wrapping_sub(1) as u32))
    }

    #[inline]
    pub fn set_map(&mut self, map: MapId) {
        self.raw[0] = map.0 as u64 + 1;
    }

    /// Tells inner maps from different lookups apart; 0 for outer maps.
    #[inline]
    pub fn map_uid(&self) -> u32 {
        self.low32(1)
    }

    #[inline]
    pub fn set_map_uid(&mut self, uid: u32) {
        self.set_low32(1, uid);
    }

    /// PTR_TO_BTF_ID and iterator slots: the BTF the id belongs to.
    #[inline]
    pub fn btf(&self) -> Option<BtfObj> {
        (self.raw[0] != 0).then(|| BtfObj(self.raw[0].wrapping_sub(1) as u32))
    }

    #[inline]
    pub fn btf_id(&self) -> u32 {
        self.low32(1)
    }

    #[inline]
    pub fn set_btf(&mut self, btf: BtfObj, id: u32) {
        self.raw[0] = btf.0 as u64 + 1;
        self.set_low32(1, id);
    }

    /// PTR_TO_MEM: size in bytes of the region.
    #[inline]
    pub fn mem_size(&self) -> u32 {
        self.low32(0)
    }

    #[inline]
    pub fn set_mem_size(&mut self, size: u32) {
        self.set_low32(0, size);
    }

    /// PTR_TO_MEM from a dynptr slice: the dynptr's id.
    #[inline]
    pub fn dynptr_id(&self) -> u32 {
        (self.raw[0] >> 32) as u32
    }

    #[inline]
    pub fn set_dynptr_id(&mut self, id: u32) {
        self.set_high32(0, id);
    }

    /// Dynptr slots: what it points to.
    #[inline]
    pub fn dynptr_type(&self) -> DynptrType {
        match self.low32(0) {
            1 => DynptrType::Local,
            2 => DynptrType::Ringbuf,
            3 => DynptrType::Skb,
            4 => DynptrType::Xdp,
            5 => DynptrType::SkbMeta,
            6 => DynptrType::File,
            _ => DynptrType::Invalid,
        }
    }

    /// Dynptr slots: whether this is the first of the two.
    #[inline]
    pub fn dynptr_first_slot(&self) -> bool {
        (self.raw[0] >> 32) & 0xff != 0
    }

    #[inline]
    pub fn set_dynptr(&mut self, ty: DynptrType, first_slot: bool) {
        self.set_low32(0, ty as u32);
        self.set_high32(0, first_slot as u32);
    }

    /// Iterator slots.
    #[inline]
    pub fn iter_state(&self) -> IterState {
        match (self.raw[1] >> 32) & 3 {
            1 => IterState::Active,
            2 => IterState::Drained,
            _ => IterState::Invalid,
        }
    }

    /// Iterator slots: how many times it was advanced on this path.
    #[inline]
    pub fn iter_depth(&self) -> u32 {
        (self.raw[1] >> 34) as u32
    }

    #[inline]
    pub fn set_iter(&mut self, state: IterState, depth: u32) {
        self.set_high32(1, state as u32 | depth << 2);
    }

    /// IRQ flag slots: 0 for the native kfuncs, 1 for the lock kfuncs.
    #[inline]
    pub fn irq_kfunc_class(&self) -> u32 {
        self.low32(0)
    }

    #[inline]
    pub fn set_irq_kfunc_class(&mut self, class: u32) {
        self.set_low32(0, class);
    }

    /// PTR_TO_FUNC: the subprogram.
    #[inline]
    pub fn subprogno(&self) -> u32 {
        self.low32(0)
    }

    #[inline]
    pub fn set_subprogno(&mut self, n: u32) {
        self.set_low32(0, n);
    }

    /// The value lies in the tnum and in all four ranges.
    pub fn contains(&self, v: u64) -> bool {
        self.var_off.contains(v)
            && (self.umin..=self.umax).contains(&v)
            && (self.smin..=self.smax).contains(&(v as i64))
            && (self.u32_min..=self.u32_max).contains(&(v as u32))
            && (self.s32_min..=self.s32_max).contains(&(v as i32))
    }
}
