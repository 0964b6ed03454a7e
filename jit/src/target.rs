//! What a backend provides: about thirty operations on BPF registers, operation and width as data.
//!
//! A backend owns registers and bytes.  Results of 32-bit operations are zero-extended by the
//! backend, as on both processors that costs nothing.  Division by zero gives 0, the remainder by zero the
//! dividend, the most negative number divided by -1 is itself (`isa::semantics` is the definition);
//! how that comes about is the backend's business, since one of the processors does most of it.
//! Register 11 ([`AX`]) is a scratch register the walker uses; a backend has a few more of its own.
//!
//! The `try_` methods are fused forms: a backend answers false, having written nothing, for what it
//! has no good code for, and the walker then writes the parts.  A backend may look at
//! [`CodeBuf::is_live`] to see which BPF registers are still needed after the current instruction.

use bpfassay_isa::{AluOp, AtomicOp, Cond, Operand, Reg, Size, SwapKind, SxFrom, Width};

use crate::buf::{CodeBuf, Label, Patch};

/// The walker's scratch register (`BPF_REG_AX`), for blinded constants.
pub const AX: Reg = Reg(11);

/// What kind of memory an access goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Space {
    #[default]
    Plain,
    /// The base is a 32-bit pointer into the arena, to be added to the arena's address.
    Arena,
}

/// `base + index * 2^scale + off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addr {
    pub base: Reg,
    /// Register and scale 0 to 3; only in the `try_` methods.
    pub index: Option<(Reg, u8)>,
    pub off: i32,
    pub space: Space,
}

impl Addr {
    /// `base + off`, plain.
    #[inline(always)]
    pub fn plain(base: Reg, off: i16) -> Addr {
        Addr { base, index: None, off: off as i32, space: Space::Plain }
    }
}

/// What begins where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    Block,
    Loop,
    /// A loop of very few instructions without another jump.
    TightLoop,
}

/// What a function's frame depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FuncFacts {
    /// First slot.
    pub slot: u32,
    /// The program's first function, entered only through [`crate::Glue`]: it need keep no register.
    pub is_entry: bool,
    /// Registers of r6 to r9 the function writes, a bit each.
    pub writes: u16,
    /// Reads r10.
    pub uses_fp: bool,
    /// Bytes of BPF stack, a multiple of 8; 0 where r10 is not used.
    pub stack: u32,
    /// Calls something, so that on some processors the return address must be kept.
    pub calls: bool,
    /// Has a `may_goto`.
    pub counts: bool,
    /// Where in the run context its number of them is.
    pub counter: i32,
    /// Address of the top of a private stack to be used instead of the machine's.
    pub private_stack: Option<u64>,
}

pub trait Target: Patch {
    fn buf(&mut self) -> &mut CodeBuf;

    /// Number of the machine register, as a signal handler would look it up, of r0 to r10.
    fn native(r: Reg) -> u8;

    // The frame of everything.

    /// After the last instruction: stubs of call sites, slow paths put aside.
    fn finish(&mut self);

    // Functions.

    fn prologue(&mut self, f: &FuncFacts);
    /// Takes the frame down and returns r0.
    fn exit(&mut self, f: &FuncFacts);
    /// Called once at every slot that is jumped to: nothing is known of flags and scratch registers here.
    fn at_label(&mut self, head: Head);

    // Control.

    fn jump(&mut self, to: Label);
    fn cond_jump(&mut self, cond: Cond, width: Width, a: Reg, b: Operand, to: Label);
    /// Counts the field of the run context at `counter` down; below zero it goes to `to`.
    fn may_goto(&mut self, counter: i32, to: Label);
    fn call_function(&mut self, to: Label);
    /// Calls the dispatch function for this site; r0 is the answer, r1 to r5 are lost.
    fn call_host(&mut self, site: u32);
    /// As [`Target::call_host`], with the value of `target` put into [`crate::abi::CALL_REG`].
    fn call_reg(&mut self, target: Reg, site: u32);
    fn tail_call(&mut self, f: &FuncFacts, site: u32);
    /// Packet load at `imm` plus the low half of `index`; leaves the function with 0 if it fails.
    fn load_packet(&mut self, f: &FuncFacts, size: Size, index: Option<Reg>, imm: i32, site: u32);
    /// What no path may reach: an instruction that faults.
    fn unreachable(&mut self);

    // Values.

    /// `dst = a op b`; `dst`, `a` and `b` may be the same register.  For Mov `a` is not looked at.
    fn alu(&mut self, op: AluOp, width: Width, dst: Reg, a: Reg, b: Operand);
    /// The multiplication by a constant that comes next may be made of several steps, as its operand is no sum
    /// with a constant: processors that add those when they rename registers make others wait for it (Golden Cove).
    fn multiply_by_steps(&mut self) {}
    fn neg(&mut self, width: Width, dst: Reg, a: Reg);
    fn swap(&mut self, kind: SwapKind, bits: u8, dst: Reg);
    fn movsx(&mut self, width: Width, from: SxFrom, dst: Reg, src: Reg);
    fn imm64(&mut self, dst: Reg, value: u64);
    /// Address of a function of this program.
    fn function_address(&mut self, dst: Reg, of: Label);
    /// `BPF_ADDR_SPACE_CAST`: to the arena's own form (`to_user` false: the low half, zero-extended), or to a user-space pointer
    /// (the low half below [`crate::abi::ARENA_USER`], null staying null).
    fn addr_space_cast(&mut self, dst: Reg, src: Reg, to_user: bool);

    // Memory.

    fn load(&mut self, size: Size, sign_extend: bool, dst: Reg, addr: Addr);
    fn store(&mut self, size: Size, addr: Addr, src: Operand);
    /// With `fetch` the old value goes to `src`, for Cmpxchg (which always fetches) to r0.
    fn atomic(&mut self, op: AtomicOp, fetch: bool, size: Size, addr: Addr, src: Reg);
    fn load_acquire(&mut self, size: Size, dst: Reg, addr: Addr);
    fn store_release(&mut self, size: Size, addr: Addr, src: Reg);
    /// `bpf_map_lookup_elem` of an array: r0 = the address of element `*(u32 *)r2`, or 0.
    fn array_lookup(&mut self, array: &ArrayPlan);

    /// As [`Target::array_lookup`] of a hash map, whose key is at r2.
    fn try_hash_lookup(&mut self, _hash: &HashPlan) -> bool {
        false
    }

    // Fused forms.

    /// `dst = a rotated left by count`, 1 to width - 1.
    fn try_rotate(&mut self, _width: Width, _dst: Reg, _a: Reg, _count: u8) -> bool {
        false
    }
    /// A load or store whose address has an index or more than 16 bits of offset.
    fn try_load(&mut self, _size: Size, _sign_extend: bool, _dst: Reg, _addr: Addr) -> bool {
        false
    }
    fn try_store(&mut self, _size: Size, _addr: Addr, _src: Operand) -> bool {
        false
    }
    /// `dst op= *(size *)addr`, `size` W or Dw as the width has it.
    fn try_alu_load(&mut self, _op: AluOp, _width: Width, _dst: Reg, _addr: Addr) -> bool {
        false
    }
    /// `*(size *)addr op= src`.
    fn try_alu_store(&mut self, _op: AluOp, _size: Size, _addr: Addr, _src: Operand) -> bool {
        false
    }
    /// Jump on `*(size *)addr` compared, zero-extended, with `b` at 64 bits.
    fn try_cond_jump_load(
        &mut self,
        _cond: Cond,
        _size: Size,
        _addr: Addr,
        _b: Operand,
        _to: Label,
    ) -> bool {
        false
    }
    /// Load and byte swap of the whole value, zero-extended.
    fn try_load_swapped(&mut self, _size: Size, _dst: Reg, _addr: Addr) -> bool {
        false
    }
    /// `dst = a + (index << scale) + off`.
    fn try_lea(
        &mut self,
        _width: Width,
        _dst: Reg,
        _a: Reg,
        _index: Option<(Reg, u8)>,
        _off: i32,
    ) -> bool {
        false
    }
}

/// Where an array map's values are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrayPlan {
    pub base: u64,
    pub stride: u32,
    pub entries: u32,
}

/// A hash map's table, by which a value's address is found.
///
/// At `table` stand the address of its entries and the bytes of all of them but one, which is a mask.
/// An entry begins with the address of a value, or 0 where it is free; the key's words follow.
/// A key is in the entry at its hash cut by the mask, or in the next ones, with no free entry between; there always
/// is a free one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashPlan {
    pub table: u64,
    /// Bytes; what is missing of the last of the key's words is zero.
    pub key_size: u32,
    /// Added to what is found.
    pub offset: u32,
}

impl HashPlan {
    /// Multiplied with for each word of a key.
    pub const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Words of an entry for keys of so many bytes: a power of two.
    pub const fn entry_words(key_size: usize) -> usize {
        (1 + key_size.div_ceil(8)).next_power_of_two()
    }

    /// The hash, 0 to begin with, when another word is added: both halves of a product in one.
    #[inline(always)]
    pub const fn mix(hash: u64, word: u64) -> u64 {
        let product = (hash ^ word) as u128 * HashPlan::FACTOR as u128;
        product as u64 ^ (product >> 64) as u64
    }

    /// Loads that make up the key: offset and size of each, if a load each is all it takes; None of keys that are
    /// longer than it is worth.
    pub fn loads(&self) -> Option<impl Iterator<Item = (i32, Size)>> {
        /// Bytes.
        const LONGEST: u32 = 40;
        let last = match self.key_size % 8 {
            0 => None,
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            _ => return None,
        };
        let whole = self.key_size / 8;
        (1..=LONGEST).contains(&self.key_size).then(|| {
            let words = (0..whole).map(|i| (i as i32 * 8, Size::Dw));
            words.chain(last.map(|size| (whole as i32 * 8, size)))
        })
    }
}
