//! The x86-64 backend: BPF registers on machine registers, and the code for each operation.
//!
//! [`enc`] knows encodings only; the rest builds [`bpfassay_jit::Target`]'s methods from them.
//! Emits on any host; processor features and the C convention are data ([`Features`]).
//!
//! r0 rax, r1 rdi, r2 rsi, r3 rdx, r4 rcx, r5 r8, r6 rbx, r7 r14, r8 r15, r9 r13, r10 rbp;
//! the walker's scratch register is r10; r9 and r11 are this crate's, and r12 holds the
//! arena's address.  As in the kernel's JIT the first five are the first five of the C convention.

mod alu;
mod atomic;
mod divide;
pub mod enc;
mod frame;
mod fused;
mod glue;
mod lookup;
mod memory;

use bpfassay_isa::{AluOp, Operand, Reg, Size, Width};
use bpfassay_jit::abi::Convention;
use bpfassay_jit::{CodeBuf, Compiled, Glue, JitError, Label, Options, Resolve, Source};

use enc::{Asm, Gp, W};

/// What the processor has beyond the base set, and the host's C convention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Shifts by any register, without flags.
    pub bmi2: bool,
    /// Loads that swap bytes.
    pub movbe: bool,
    pub convention: Convention,
}

impl Features {
    /// What every x86-64 processor has.
    pub const BASE: Features = Features { bmi2: false, movbe: false, convention: Convention::SysV };
}

/// Compiles a program for this processor.
pub fn compile(
    source: &Source<'_>,
    options: &Options,
    features: Features,
    resolve: &mut dyn Resolve,
) -> Result<Compiled, JitError> {
    let make = |buf| X86::new(buf, features, options.context);
    bpfassay_jit::compile(source, options, resolve, make).map(|(c, _)| c)
}

/// Code that all programs of a run context share.
pub fn glue(context: u64, features: Features) -> Result<Glue, JitError> {
    X86::new(CodeBuf::new(0, 512), features, context).glue().ok_or(JitError::TooLarge)
}

/// What the flags register still tells.
///
/// One word, because it is written with nearly every instruction and read whole: kind and width, the registers
/// concerned, and the constant compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Flags(u64);

impl Flags {
    /// Nothing.
    const LOST: Flags = Flags::of(0, Flags::NO_REG, Flags::NO_REG, 0);
    /// In the place of a register.
    const NO_REG: u8 = 0xff;

    #[inline(always)]
    const fn of(kind: u8, a: u8, b: u8, imm: u32) -> Flags {
        Flags(kind as u64 | (a as u64) << 8 | (b as u64) << 16 | (imm as u64) << 32)
    }

    /// Zero flag: whether this register, at this width, is zero; with `logic` also its sign, as `test` leaves them.
    #[inline(always)]
    fn result(reg: Reg, width: Width, logic: bool) -> Flags {
        Flags::of(2 | (width as u8) << 2 | logic as u8, reg.0, Flags::NO_REG, 0)
    }

    /// A comparison.
    #[inline(always)]
    fn compared(a: Reg, b: Operand, width: Width) -> Flags {
        let kind = 8 | (width as u8) << 2;
        match b {
            Operand::Reg(b) => Flags::of(kind, a.0, b.0, 0),
            Operand::Imm(v) => Flags::of(kind, a.0, Flags::NO_REG, v as u32),
        }
    }

    /// What is left of it when an instruction that sets no flags has written this register.
    #[inline(always)]
    fn beside(self, dst: Reg) -> Flags {
        let (a, b) = ((self.0 >> 8) as u8, (self.0 >> 16) as u8);
        if a == dst.0 || b == dst.0 {
            Flags::LOST
        } else {
            self
        }
    }
}

/// The backend.
pub struct X86 {
    asm: Asm,
    features: Features,
    context: u64,
    flags: Flags,
    /// In a loop of very few instructions: there a load whose address is a sum takes the sum from an
    /// instruction of its own, as adding in the load costs a processor that does one round a cycle
    /// (Zen 4) a fifth of its rounds.
    is_tight: bool,
    /// The next multiplication may take steps.
    steps: bool,
    /// Stubs of call sites wanted so far.
    sites: Vec<Option<Label>>,
    tail_jump: Option<Label>,
}

impl X86 {
    fn new(buf: CodeBuf, features: Features, context: u64) -> X86 {
        X86 {
            asm: Asm { buf },
            features,
            context,
            flags: Flags::LOST,
            is_tight: false,
            steps: false,
            sites: Vec::new(),
            tail_jump: None,
        }
    }

    /// True when nothing after the current instruction reads this BPF register.
    fn is_dead(&self, r: Reg) -> bool {
        !self.asm.buf.is_live(r)
    }
}

const REGISTERS: [Gp; 12] = [
    enc::RAX,
    enc::RDI,
    enc::RSI,
    enc::RDX,
    enc::RCX,
    enc::R8,
    enc::RBX,
    enc::R14,
    enc::R15,
    enc::R13,
    enc::RBP,
    enc::R10,
];

/// [`REGISTERS`], and R11 for what is none, for every byte.
static MAP: [Gp; 256] = {
    let mut out = [enc::R11; 256];
    let mut r = 0;
    while r < REGISTERS.len() {
        out[r] = REGISTERS[r];
        r += 1;
    }
    out
};

/// Machine register of a BPF register.
#[inline(always)]
fn gp(r: Reg) -> Gp {
    MAP[r.0 as usize]
}

#[inline(always)]
fn width(w: Width) -> W {
    match w {
        Width::W32 => W::D,
        Width::W64 => W::Q,
    }
}

#[inline(always)]
fn size(s: Size) -> W {
    match s {
        Size::B => W::B,
        Size::H => W::H,
        Size::W => W::D,
        Size::Dw => W::Q,
    }
}

/// Operations whose operands may change places.
fn commutes(op: AluOp) -> bool {
    matches!(op, AluOp::Add | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor)
}
