//! A flat form of the hot instructions, so that one jump reaches each.
//!
//! Every arm names its operation as a constant and hands it to
//! `isa::semantics`, which the compiler then folds: no meaning is written here.
//! What is not hot stays an [`Insn`] and is [`Kind::Slow`].
#![allow(unsafe_code)]

use bpfassay_isa::{AluOp, Cond, Insn, Operand, Size, Width};

/// Makes [`Kind`], its constructors, and the macro that runs it, from one list.
macro_rules! kinds {
    (
        alu { $($op:ident $ar64:ident $ak64:ident $ar32:ident $ak32:ident;)* }
        cond { $($cond:ident $cr64:ident $ck64:ident $cr32:ident $ck32:ident;)* }
        mem { $($size:ident $load:ident $store:ident $storek:ident;)* }
    ) => {
        /// What to do with the operands of a [`Hot`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($ar64, $ak64, $ar32, $ak32,)*
            $($cr64, $ck64, $cr32, $ck32,)*
            $($load, $store, $storek,)*
            /// A constant of 64 bits; two slots.
            Wide,
            Goto,
            Slow,
        }

        fn alu_kind(op: AluOp, width: Width, src: Operand) -> Kind {
            match (op, width, src) {
                $((AluOp::$op, Width::W64, Operand::Reg(_)) => Kind::$ar64,
                (AluOp::$op, Width::W64, Operand::Imm(_)) => Kind::$ak64,
                (AluOp::$op, Width::W32, Operand::Reg(_)) => Kind::$ar32,
                (AluOp::$op, Width::W32, Operand::Imm(_)) => Kind::$ak32,)*
            }
        }

        fn cond_kind(cond: Cond, width: Width, src: Operand) -> Kind {
            match (cond, width, src) {
                $((Cond::$cond, Width::W64, Operand::Reg(_)) => Kind::$cr64,
                (Cond::$cond, Width::W64, Operand::Imm(_)) => Kind::$ck64,
                (Cond::$cond, Width::W32, Operand::Reg(_)) => Kind::$cr32,
                (Cond::$cond, Width::W32, Operand::Imm(_)) => Kind::$ck32,)*
            }
        }

        fn load_kind(size: Size) -> Kind {
            match size { $(Size::$size => Kind::$load,)* }
        }

        fn store_kind(size: Size, src: Operand) -> Kind {
            match (size, src) {
                $((Size::$size, Operand::Reg(_)) => Kind::$store,
                (Size::$size, Operand::Imm(_)) => Kind::$storek,)*
            }
        }

        /// Runs one hot instruction.  `fault` is evaluated with a memory fault, `slow` otherwise.
        macro_rules! run_hot {
            ($hot:expr, $regs:expr, $pc:expr, $mem:expr, |$fault:ident| $on_fault:expr, $slow:expr) => {{
                use bpfassay_isa::semantics::{alu, cond};
                use bpfassay_isa::Width;
                use $crate::engines::ops::{whole, Kind};
                let hot = $hot;
                let d = (hot.dst & 15) as usize;
                let s = (hot.src & 15) as usize;
                match hot.kind {
                    $(Kind::$ar64 => {
                        $regs[d] = alu(bpfassay_isa::AluOp::$op, Width::W64, whole(&$regs[d]), whole(&$regs[s]));
                        $pc += 1;
                    }
                    Kind::$ak64 => {
                        $regs[d] = alu(bpfassay_isa::AluOp::$op, Width::W64, whole(&$regs[d]), hot.imm);
                        $pc += 1;
                    }
                    Kind::$ar32 => {
                        $regs[d] = alu(bpfassay_isa::AluOp::$op, Width::W32, whole(&$regs[d]), whole(&$regs[s]));
                        $pc += 1;
                    }
                    Kind::$ak32 => {
                        $regs[d] = alu(bpfassay_isa::AluOp::$op, Width::W32, whole(&$regs[d]), hot.imm);
                        $pc += 1;
                    })*
                    $(Kind::$cr64 => {
                        let taken = cond(bpfassay_isa::Cond::$cond, Width::W64, whole(&$regs[d]), whole(&$regs[s]));
                        $pc = if taken { hot.target as usize } else { $pc + 1 };
                    }
                    Kind::$ck64 => {
                        let taken = cond(bpfassay_isa::Cond::$cond, Width::W64, whole(&$regs[d]), hot.imm);
                        $pc = if taken { hot.target as usize } else { $pc + 1 };
                    }
                    Kind::$cr32 => {
                        let taken = cond(bpfassay_isa::Cond::$cond, Width::W32, whole(&$regs[d]), whole(&$regs[s]));
                        $pc = if taken { hot.target as usize } else { $pc + 1 };
                    }
                    Kind::$ck32 => {
                        let taken = cond(bpfassay_isa::Cond::$cond, Width::W32, whole(&$regs[d]), hot.imm);
                        $pc = if taken { hot.target as usize } else { $pc + 1 };
                    })*
                    $(Kind::$load => {
                        let addr = whole(&$regs[s]).wrapping_add(hot.target as i32 as i64 as u64);
                        match $mem.load(addr, bpfassay_isa::Size::$size) {
                            Ok(v) => $regs[d] = v,
                            Err($fault) => $on_fault,
                        }
                        $pc += 1;
                    }
                    Kind::$store => {
                        let addr = whole(&$regs[d]).wrapping_add(hot.target as i32 as i64 as u64);
                        if let Err($fault) = $mem.store(addr, bpfassay_isa::Size::$size, whole(&$regs[s])) {
                            $on_fault
                        }
                        $pc += 1;
                    }
                    Kind::$storek => {
                        let addr = whole(&$regs[d]).wrapping_add(hot.target as i32 as i64 as u64);
                        if let Err($fault) = $mem.store(addr, bpfassay_isa::Size::$size, hot.imm) {
                            $on_fault
                        }
                        $pc += 1;
                    })*
                    Kind::Wide => {
                        $regs[d] = hot.imm;
                        $pc += 2;
                    }
                    Kind::Goto => $pc = hot.target as usize,
                    Kind::Slow => $slow,
                }
            }};
        }
        pub(crate) use run_hot;
    };
}

kinds! {
    alu {
        Add AddR64 AddK64 AddR32 AddK32;
        Sub SubR64 SubK64 SubR32 SubK32;
        Mul MulR64 MulK64 MulR32 MulK32;
        Div DivR64 DivK64 DivR32 DivK32;
        SDiv SDivR64 SDivK64 SDivR32 SDivK32;
        Or OrR64 OrK64 OrR32 OrK32;
        And AndR64 AndK64 AndR32 AndK32;
        Lsh LshR64 LshK64 LshR32 LshK32;
        Rsh RshR64 RshK64 RshR32 RshK32;
        Mod ModR64 ModK64 ModR32 ModK32;
        SMod SModR64 SModK64 SModR32 SModK32;
        Xor XorR64 XorK64 XorR32 XorK32;
        Mov MovR64 MovK64 MovR32 MovK32;
        Arsh ArshR64 ArshK64 ArshR32 ArshK32;
    }
    cond {
        Eq EqR64 EqK64 EqR32 EqK32;
        Gt GtR64 GtK64 GtR32 GtK32;
        Ge GeR64 GeK64 GeR32 GeK32;
        Set SetR64 SetK64 SetR32 SetK32;
        Ne NeR64 NeK64 NeR32 NeK32;
        Sgt SgtR64 SgtK64 SgtR32 SgtK32;
        Sge SgeR64 SgeK64 SgeR32 SgeK32;
        Lt LtR64 LtK64 LtR32 LtK32;
        Le LeR64 LeK64 LeR32 LeK32;
        Slt SltR64 SltK64 SltR32 SltK32;
        Sle SleR64 SleK64 SleR32 SleK32;
    }
    mem {
        B LoadB StoreB StoreKB;
        H LoadH StoreH StoreKH;
        W LoadW StoreW StoreKW;
        Dw LoadDw StoreDw StoreKDw;
    }
}

/// A whole register.
///
/// A load of its low half alone waits about twice as long for the store before it as one of the
/// same size does, and the compiler makes one of every 32-bit operation that lets it.
#[inline(always)]
pub(crate) fn whole(r: &u64) -> u64 {
    // SAFETY: a reference is good to read.
    unsafe { std::ptr::read_volatile(r) }
}

/// One slot, operands ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hot {
    pub kind: Kind,
    pub dst: u8,
    pub src: u8,
    /// Slot a jump goes to; for memory the signed offset.
    pub target: u32,
    /// Immediate, sign-extended.
    pub imm: u64,
}

impl Hot {
    pub const SLOW: Hot = Hot { kind: Kind::Slow, dst: 0, src: 0, target: 0, imm: 0 };

    /// The hot form of the instruction in slot `pc`; [`Kind::Slow`] where it has none.
    pub fn of(insn: &Insn, pc: usize) -> Hot {
        let mut hot = Hot::SLOW;
        let target = |off: i32| u32::try_from(pc as i64 + 1 + off as i64).ok();
        match *insn {
            Insn::Alu { op, width, dst, src } => {
                hot = hot.with(alu_kind(op, width, src), dst.0, src);
            }
            Insn::CondJump { cond, width, dst, src, off } => {
                // A target before the program stays slow, where it traps.
                if let Some(to) = target(off as i32) {
                    hot = hot.with(cond_kind(cond, width, src), dst.0, src);
                    hot.target = to;
                }
            }
            Insn::Load { size, sign_extend: false, dst, src, off } => {
                hot = hot.with(load_kind(size), dst.0, Operand::Reg(src));
                hot.target = off as i32 as u32;
            }
            Insn::Store { size, dst, off, src } => {
                hot = hot.with(store_kind(size, src), dst.0, src);
                hot.target = off as i32 as u32;
            }
            Insn::LoadImm64 { dst, value: bpfassay_isa::Imm64::Const(v) } => {
                (hot.kind, hot.dst, hot.imm) = (Kind::Wide, dst.0, v);
            }
            Insn::Jump { off, .. } => {
                if let Some(to) = target(off) {
                    (hot.kind, hot.target) = (Kind::Goto, to);
                }
            }
            _ => {}
        }
        hot
    }

    fn with(mut self, kind: Kind, dst: u8, src: Operand) -> Hot {
        (self.kind, self.dst) = (kind, dst);
        match src {
            Operand::Reg(r) => self.src = r.0,
            Operand::Imm(v) => self.imm = bpfassay_isa::semantics::imm(v),
        }
        self
    }
}
