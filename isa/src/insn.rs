//! The decoded instruction: a dozen families, with operation, width and condition as data.
//!
//! Decoding is total over meaning, not over bytes: what has no meaning is a
//! [`crate::decode::DecodeError`], and the caller (who may be a verifier that
//! must complain in the kernel's order) decides when to look at it.

use crate::reg::Reg;

/// Operand width of ALU and conditional jumps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Width {
    W32,
    W64,
}

/// Access size of loads, stores and atomics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Size {
    B,
    H,
    W,
    Dw,
}

impl Size {
    /// Size in bytes: 1, 2, 4 or 8.
    #[inline]
    pub fn bytes(self) -> u32 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }
}

/// Two-operand arithmetic (RFC 9669, section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    /// Unsigned division; by zero gives 0.
    Div,
    /// Signed division (`off` = 1, cpu v4).
    SDiv,
    Or,
    And,
    Lsh,
    Rsh,
    /// Unsigned modulo; by zero leaves the destination.
    Mod,
    /// Signed modulo (`off` = 1, cpu v4).
    SMod,
    Xor,
    Mov,
    Arsh,
}

/// Source width of a sign-extending move (`off` = 8, 16, 32).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SxFrom {
    B,
    H,
    W,
}

impl SxFrom {
    /// Width in bits: 8, 16 or 32.
    #[inline]
    pub fn bits(self) -> u32 {
        match self {
            SxFrom::B => 8,
            SxFrom::H => 16,
            SxFrom::W => 32,
        }
    }
}

/// Byte swap family (RFC 9669, section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SwapKind {
    /// `BPF_ALU | BPF_END | BPF_TO_LE`: truncates on a little-endian machine.
    ToLe,
    /// `BPF_ALU | BPF_END | BPF_TO_BE`: swaps on a little-endian machine.
    ToBe,
    /// `BPF_ALU64 | BPF_END`: swaps on every machine (cpu v4).
    Bswap,
}

/// Condition of a conditional jump (RFC 9669, section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cond {
    Eq,
    Gt,
    Ge,
    /// `dst & src` is not zero.
    Set,
    Ne,
    Sgt,
    Sge,
    Lt,
    Le,
    Slt,
    Sle,
}

impl Cond {
    /// Every condition.
    pub const ALL: [Cond; 11] = [
        Cond::Eq,
        Cond::Ne,
        Cond::Gt,
        Cond::Ge,
        Cond::Lt,
        Cond::Le,
        Cond::Sgt,
        Cond::Sge,
        Cond::Slt,
        Cond::Sle,
        Cond::Set,
    ];
}

/// Register or immediate second operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    Reg(Reg),
    /// Sign-extended to 64 bits where the width is 64.
    Imm(i32),
}

/// Read-modify-write atomics (RFC 9669, section 5.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    Add,
    Or,
    And,
    Xor,
    /// Always fetches.
    Xchg,
    /// Always fetches into r0.
    Cmpxchg,
}

/// What a 16-byte load puts in its register: the pseudo source field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// Plain 64-bit constant (`src` = 0).
    Const(u64),
    /// `BPF_PSEUDO_MAP_FD`: map by descriptor (here: index into `Program::maps`).
    MapFd(i32),
    /// `BPF_PSEUDO_MAP_VALUE`: address of a map value plus offset.
    MapValue { fd: i32, off: u32 },
    /// `BPF_PSEUDO_BTF_ID`: kernel variable; `btf_fd` 0 is vmlinux.
    BtfId { id: i32, btf_fd: i32 },
    /// `BPF_PSEUDO_FUNC`: subprogram address; offset relative to the next slot.
    Func(i32),
    /// `BPF_PSEUDO_MAP_IDX`: map by index into the fd array.
    MapIdx(i32),
    /// `BPF_PSEUDO_MAP_IDX_VALUE`.
    MapIdxValue { idx: i32, off: u32 },
}

/// Who is called: the source field of `BPF_CALL`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallTarget {
    /// Helper by number.
    Helper(i32),
    /// BPF-to-BPF (`BPF_PSEUDO_CALL`): offset in slots relative to the next instruction.
    Subprog(i32),
    /// Kernel function (`BPF_PSEUDO_KFUNC_CALL`): BTF id and index of the BTF in the fd array.
    Kfunc { btf_id: i32, fd_idx: i16 },
}

/// A decoded instruction.  Register fields may still be 11 to 15.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Insn {
    Alu {
        op: AluOp,
        width: Width,
        dst: Reg,
        src: Operand,
    },
    /// Sign-extending move (cpu v4); with `width` W32 the source is 8 or 16 bits.
    MovSx {
        width: Width,
        from: SxFrom,
        dst: Reg,
        src: Reg,
    },
    /// Address space cast between arena address spaces (`off` = 1, Linux 6.9); `imm` = dst_as << 16 | src_as.
    AddrSpaceCast {
        dst: Reg,
        src: Reg,
        imm: i32,
    },
    Neg {
        width: Width,
        dst: Reg,
    },
    /// `bits` is 16, 32 or 64.
    Swap {
        kind: SwapKind,
        bits: u8,
        dst: Reg,
    },
    /// Two slots.
    LoadImm64 {
        dst: Reg,
        value: Imm64,
    },
    /// LDX, zero-extending or (cpu v4, not for Dw) sign-extending.
    Load {
        size: Size,
        sign_extend: bool,
        dst: Reg,
        src: Reg,
        off: i16,
    },
    /// Legacy packet load (`LD_ABS`, and `LD_IND` when `index` is set); result in r0, ctx in r6.
    LoadPacket {
        size: Size,
        index: Option<Reg>,
        imm: i32,
    },
    /// ST (immediate) and STX (register).
    Store {
        size: Size,
        dst: Reg,
        off: i16,
        src: Operand,
    },
    /// `size` is W or Dw.
    Atomic {
        op: AtomicOp,
        fetch: bool,
        size: Size,
        dst: Reg,
        src: Reg,
        off: i16,
    },
    /// `dst = *(src + off)` with acquire order (Linux 6.15).
    LoadAcquire {
        size: Size,
        dst: Reg,
        src: Reg,
        off: i16,
    },
    /// `*(dst + off) = src` with release order (Linux 6.15).
    StoreRelease {
        size: Size,
        dst: Reg,
        src: Reg,
        off: i16,
    },
    /// Unconditional; `long` is the 32-bit form (`gotol`, cpu v4), offset in slots relative to the next.
    Jump {
        off: i32,
        long: bool,
    },
    /// Conditional on a kernel-kept budget (`BPF_JCOND`, Linux 6.9).
    MayGoto {
        off: i16,
    },
    CondJump {
        cond: Cond,
        width: Width,
        dst: Reg,
        src: Operand,
        off: i16,
    },
    Call {
        target: CallTarget,
    },
    /// Call by register (`callx`): no kernel accepts it; conformance suites use it.
    CallReg {
        target: Reg,
    },
    /// Jump to an instruction whose address is in a register (`gotox`, Linux 6.19).
    JumpReg {
        target: Reg,
    },
    Exit,
}

impl Insn {
    /// Slots taken in the instruction array: 2 for LD_IMM64, else 1.
    #[inline]
    pub fn slots(&self) -> usize {
        match self {
            Insn::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }
}
