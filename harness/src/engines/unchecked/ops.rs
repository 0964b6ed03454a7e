//! The unchecked interpreter's instructions: flat, several of the program's in one where
//! compilers write them side by side.
//!
//! Every arm names its operations as constants and hands them to `isa::semantics`,
//! which the compiler then folds: no meaning is written here.  A slot whose
//! instruction is fused with those behind it does their work too and goes on
//! behind them; they keep their own slots, so jumps between them stay right.

use bpfassay_isa::{AluOp, Cond, Operand, Reg, Size, SwapKind, SxFrom, Width};

/// Makes [`Kind`], its constructors, and the macro that runs it, from one list.
macro_rules! kinds {
    (
        alu { $($op:ident $ar64:ident $ak64:ident $ar32:ident $ak32:ident
                $mr64:ident $mk64:ident $mr32:ident $mk32:ident;)* }
        cond { $($cond:ident $cr64:ident $ck64:ident $cr32:ident $ck32:ident
                 $dr64:ident $dk64:ident $dr32:ident $dk32:ident;)* }
        mem { $($size:ident $load:ident $loadsx:ident $store:ident $storek:ident
                $at_load:ident $at_store:ident $sum_load:ident $sum_store:ident;)* }
        pair { $($pair:ident $mov_pair:ident $pair_first:ident $pair_w1:ident
                 $pair_then:ident $pair_w2:ident;)* }
        rot { $($rot:ident $mov_rot:ident $rot_width:ident;)* }
        two { $($two:ident $mov_two:ident $first:ident $then:ident $two_width:ident;)* }
        sx { $($sx:ident $sx_width:ident $from:ident;)* }
        swap { $($swap:ident $swap_kind:ident $bits:literal;)* }
    ) => {
        /// What to do with the operands of an [`Op`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Kind {
            $($ar64, $ak64, $ar32, $ak32,)*
            /// `dst = src; dst op= imm`, or `dst op= target`.
            $($mr64, $mk64, $mr32, $mk32,)*
            MovR64, MovK64, MovR32, MovK32,
            /// Two moves of 64 bits; the second's registers are in `imm`.
            MovMov,
            $($cr64, $ck64, $cr32, $ck32,)*
            /// `dst += low half of imm`, then the comparison of the registers in `src`.
            $($dr64, $dk64, $dr32, $dk32,)*
            $($load, $loadsx, $store, $storek,)*
            /// `dst = src; dst += first of imm; second of imm` loaded from or stored there.
            $($at_load, $at_store,)*
            /// The same without the move.
            $($sum_load, $sum_store,)*
            /// `dst op= low half of imm; dst op= high half`; alone, and behind `dst = src`.
            $($pair, $mov_pair,)*
            /// `dst = src; dst >>= low half; src <<= high half; src |= dst`, and the same where
            /// a copy in `target` is shifted left.
            $($rot, $mov_rot,)*
            /// `dst op= imm; dst op= src`.
            $($two,)*
            /// `dst = src; dst op= imm; dst op= target`.
            $($mov_two,)*
            $($sx,)*
            $($swap,)*
            Neg64,
            Neg32,
            /// A constant of 64 bits; two slots.
            Wide,
            Goto,
            /// `imm` counts the table of resolved helpers.
            Helper,
            Call,
            Exit,
            /// Left to the checking interpreter's step.
            Rest,
            /// Behind the last instruction.
            End,
        }

        pub fn alu_kind(op: AluOp, width: Width, src: Operand) -> Kind {
            match (op, width, src) {
                $((AluOp::$op, Width::W64, Operand::Reg(_)) => Kind::$ar64,
                (AluOp::$op, Width::W64, Operand::Imm(_)) => Kind::$ak64,
                (AluOp::$op, Width::W32, Operand::Reg(_)) => Kind::$ar32,
                (AluOp::$op, Width::W32, Operand::Imm(_)) => Kind::$ak32,)*
                (AluOp::Mov, Width::W64, Operand::Reg(_)) => Kind::MovR64,
                (AluOp::Mov, Width::W64, Operand::Imm(_)) => Kind::MovK64,
                (AluOp::Mov, Width::W32, Operand::Reg(_)) => Kind::MovR32,
                (AluOp::Mov, Width::W32, Operand::Imm(_)) => Kind::MovK32,
            }
        }

        /// The move of a register and the operation on its copy in one; None for a second move.
        pub fn moved_kind(op: AluOp, width: Width, src: Operand) -> Option<Kind> {
            Some(match (op, width, src) {
                $((AluOp::$op, Width::W64, Operand::Reg(_)) => Kind::$mr64,
                (AluOp::$op, Width::W64, Operand::Imm(_)) => Kind::$mk64,
                (AluOp::$op, Width::W32, Operand::Reg(_)) => Kind::$mr32,
                (AluOp::$op, Width::W32, Operand::Imm(_)) => Kind::$mk32,)*
                (AluOp::Mov, ..) => return None,
            })
        }

        pub fn cond_kind(cond: Cond, width: Width, src: Operand) -> Kind {
            match (cond, width, src) {
                $((Cond::$cond, Width::W64, Operand::Reg(_)) => Kind::$cr64,
                (Cond::$cond, Width::W64, Operand::Imm(_)) => Kind::$ck64,
                (Cond::$cond, Width::W32, Operand::Reg(_)) => Kind::$cr32,
                (Cond::$cond, Width::W32, Operand::Imm(_)) => Kind::$ck32,)*
            }
        }

        pub fn counted_kind(cond: Cond, width: Width, src: Operand) -> Kind {
            match (cond, width, src) {
                $((Cond::$cond, Width::W64, Operand::Reg(_)) => Kind::$dr64,
                (Cond::$cond, Width::W64, Operand::Imm(_)) => Kind::$dk64,
                (Cond::$cond, Width::W32, Operand::Reg(_)) => Kind::$dr32,
                (Cond::$cond, Width::W32, Operand::Imm(_)) => Kind::$dk32,)*
            }
        }

        pub fn load_kind(size: Size, sign_extend: bool) -> Kind {
            match (size, sign_extend) {
                $((Size::$size, false) => Kind::$load, (Size::$size, true) => Kind::$loadsx,)*
            }
        }

        pub fn store_kind(size: Size, src: Operand) -> Kind {
            match (size, src) {
                $((Size::$size, Operand::Reg(_)) => Kind::$store,
                (Size::$size, Operand::Imm(_)) => Kind::$storek,)*
            }
        }

        pub fn at_load_kind(size: Size) -> Kind {
            match size { $(Size::$size => Kind::$at_load,)* }
        }

        pub fn at_store_kind(size: Size) -> Kind {
            match size { $(Size::$size => Kind::$at_store,)* }
        }

        /// Two operations on one register, by a constant and by a register: alone, and behind a move.
        pub fn two_kind(first: AluOp, then: AluOp, width: Width) -> Option<(Kind, Kind)> {
            Some(match (first, then, width) {
                $((AluOp::$first, AluOp::$then, Width::$two_width) => (Kind::$two, Kind::$mov_two),)*
                _ => return None,
            })
        }

        /// Two operations on one register by constants: alone, and behind a move.
        pub fn pair_kind(first: (AluOp, Width), then: (AluOp, Width)) -> Option<(Kind, Kind)> {
            Some(match (first, then) {
                $(((AluOp::$pair_first, Width::$pair_w1), (AluOp::$pair_then, Width::$pair_w2)) => {
                    (Kind::$pair, Kind::$mov_pair)
                })*
                _ => return None,
            })
        }

        /// A rotation of a register, and one of its copy.
        pub fn rot_kind(width: Width) -> (Kind, Kind) {
            match width { $(Width::$rot_width => (Kind::$rot, Kind::$mov_rot),)* }
        }

        pub fn sum_load_kind(size: Size) -> Kind {
            match size { $(Size::$size => Kind::$sum_load,)* }
        }

        pub fn sum_store_kind(size: Size) -> Kind {
            match size { $(Size::$size => Kind::$sum_store,)* }
        }

        pub fn sx_kind(width: Width, from: SxFrom) -> Option<Kind> {
            Some(match (width, from) {
                $((Width::$sx_width, SxFrom::$from) => Kind::$sx,)*
                _ => return None,
            })
        }

        pub fn swap_kind(kind: SwapKind, bits: u8) -> Option<Kind> {
            Some(match (kind, bits) {
                $((SwapKind::$swap_kind, $bits) => Kind::$swap,)*
                _ => return None,
            })
        }

        /// Runs one [`Op`].  `jump` takes an index; `other` gets the kinds that are not values alone.
        macro_rules! run_op {
            ($o:expr, $regs:expr, $rd:ident, $wr:ident, |$n:ident| $next:expr,
             |$to:ident| $jump:expr, |$kind:ident| $other:expr) => {{
                use bpfassay_isa::semantics::{alu, cond, movsx, neg, sign_extend, swap};
                use bpfassay_isa::{AluOp, Cond, Size, SwapKind, SxFrom, Width};
                use $crate::engines::ops::whole;
                use $crate::engines::unchecked::ops::{low, high, pick, Kind};
                let o = $o;
                macro_rules! next { ($count:literal) => {{ let $n = $count; $next }}; }
                macro_rules! branch { ($count:literal, $taken:expr) => {{
                    if $taken { let $to = o.target; $jump } else { next!($count) }
                }}; }
                macro_rules! mov { ($w:ident) => { alu(AluOp::Mov, Width::$w, 0, whole(&$regs[o.src])) }; }
                macro_rules! add { ($w:ident) => {
                    $regs[o.dst] = alu(AluOp::Add, Width::$w, whole(&$regs[o.dst]), low(o.imm))
                }; }
                match o.kind {
                    $(Kind::$ar64 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W64, whole(&$regs[o.dst]), whole(&$regs[o.src]));
                        next!(1)
                    }
                    Kind::$ak64 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W64, whole(&$regs[o.dst]), o.imm);
                        next!(1)
                    }
                    Kind::$ar32 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W32, whole(&$regs[o.dst]), whole(&$regs[o.src]));
                        next!(1)
                    }
                    Kind::$ak32 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W32, whole(&$regs[o.dst]), o.imm);
                        next!(1)
                    }
                    Kind::$mr64 => {
                        let by = whole(&$regs[o.target as u8]);
                        $regs[o.dst] = alu(AluOp::$op, Width::W64, mov!(W64), by);
                        next!(2)
                    }
                    Kind::$mk64 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W64, mov!(W64), o.imm);
                        next!(2)
                    }
                    Kind::$mr32 => {
                        let by = whole(&$regs[o.target as u8]);
                        $regs[o.dst] = alu(AluOp::$op, Width::W32, mov!(W32), by);
                        next!(2)
                    }
                    Kind::$mk32 => {
                        $regs[o.dst] = alu(AluOp::$op, Width::W32, mov!(W32), o.imm);
                        next!(2)
                    })*
                    Kind::MovR64 => {
                        $regs[o.dst] = mov!(W64);
                        next!(1)
                    }
                    Kind::MovR32 => {
                        $regs[o.dst] = mov!(W32);
                        next!(1)
                    }
                    Kind::MovK64 => {
                        $regs[o.dst] = alu(AluOp::Mov, Width::W64, 0, o.imm);
                        next!(1)
                    }
                    Kind::MovK32 => {
                        $regs[o.dst] = alu(AluOp::Mov, Width::W32, 0, o.imm);
                        next!(1)
                    }
                    Kind::MovMov => {
                        $regs[o.dst] = mov!(W64);
                        let from = whole(&$regs[pick(o.imm, 1)]);
                        $regs[pick(o.imm, 0)] = alu(AluOp::Mov, Width::W64, 0, from);
                        next!(2)
                    }
                    $(Kind::$cr64 => {
                        branch!(1, cond(Cond::$cond, Width::W64, whole(&$regs[o.dst]), whole(&$regs[o.src])))
                    }
                    Kind::$ck64 => branch!(1, cond(Cond::$cond, Width::W64, whole(&$regs[o.dst]), o.imm)),
                    Kind::$cr32 => {
                        branch!(1, cond(Cond::$cond, Width::W32, whole(&$regs[o.dst]), whole(&$regs[o.src])))
                    }
                    Kind::$ck32 => branch!(1, cond(Cond::$cond, Width::W32, whole(&$regs[o.dst]), o.imm)),
                    Kind::$dr64 => {
                        add!(W64);
                        let (a, b) = (whole(&$regs[o.src & 15]), whole(&$regs[o.src >> 4]));
                        branch!(2, cond(Cond::$cond, Width::W64, a, b))
                    }
                    Kind::$dk64 => {
                        add!(W64);
                        branch!(2, cond(Cond::$cond, Width::W64, whole(&$regs[o.src]), high(o.imm)))
                    }
                    Kind::$dr32 => {
                        add!(W32);
                        let (a, b) = (whole(&$regs[o.src & 15]), whole(&$regs[o.src >> 4]));
                        branch!(2, cond(Cond::$cond, Width::W32, a, b))
                    }
                    Kind::$dk32 => {
                        add!(W32);
                        branch!(2, cond(Cond::$cond, Width::W32, whole(&$regs[o.src]), high(o.imm)))
                    })*
                    $(Kind::$load => {
                        $regs[o.dst] = $rd(whole(&$regs[o.src]).wrapping_add(o.off()), Size::$size);
                        next!(1)
                    }
                    Kind::$loadsx => {
                        let v = $rd(whole(&$regs[o.src]).wrapping_add(o.off()), Size::$size);
                        $regs[o.dst] = sign_extend(Size::$size, v);
                        next!(1)
                    }
                    Kind::$store => {
                        $wr(whole(&$regs[o.dst]).wrapping_add(o.off()), Size::$size, whole(&$regs[o.src]));
                        next!(1)
                    }
                    Kind::$storek => {
                        $wr(whole(&$regs[o.dst]).wrapping_add(o.off()), Size::$size, o.imm);
                        next!(1)
                    }
                    Kind::$at_load => {
                        let base = alu(AluOp::Add, Width::W64, mov!(W64), whole(&$regs[pick(o.imm, 0)]));
                        $regs[o.dst] = base;
                        $regs[pick(o.imm, 1)] = $rd(base.wrapping_add(o.off()), Size::$size);
                        next!(3)
                    }
                    Kind::$at_store => {
                        let base = alu(AluOp::Add, Width::W64, mov!(W64), whole(&$regs[pick(o.imm, 0)]));
                        $regs[o.dst] = base;
                        $wr(base.wrapping_add(o.off()), Size::$size, whole(&$regs[pick(o.imm, 1)]));
                        next!(3)
                    }
                    Kind::$sum_load => {
                        let base = alu(AluOp::Add, Width::W64, whole(&$regs[o.dst]), whole(&$regs[o.src]));
                        $regs[o.dst] = base;
                        $regs[o.imm as u8] = $rd(base.wrapping_add(o.off()), Size::$size);
                        next!(2)
                    }
                    Kind::$sum_store => {
                        let base = alu(AluOp::Add, Width::W64, whole(&$regs[o.dst]), whole(&$regs[o.src]));
                        $regs[o.dst] = base;
                        $wr(base.wrapping_add(o.off()), Size::$size, whole(&$regs[o.imm as u8]));
                        next!(2)
                    })*
                    $(Kind::$pair => {
                        let v = alu(AluOp::$pair_first, Width::$pair_w1, whole(&$regs[o.dst]), low(o.imm));
                        $regs[o.dst] = alu(AluOp::$pair_then, Width::$pair_w2, v, high(o.imm));
                        next!(2)
                    }
                    Kind::$mov_pair => {
                        let v = alu(AluOp::$pair_first, Width::$pair_w1, mov!($pair_w1), low(o.imm));
                        $regs[o.dst] = alu(AluOp::$pair_then, Width::$pair_w2, v, high(o.imm));
                        next!(3)
                    })*
                    $(Kind::$rot => {
                        let v = mov!($rot_width);
                        let right = alu(AluOp::Rsh, Width::$rot_width, v, low(o.imm));
                        let left = alu(AluOp::Lsh, Width::$rot_width, whole(&$regs[o.src]), high(o.imm));
                        $regs[o.dst] = right;
                        $regs[o.src] = alu(AluOp::Or, Width::$rot_width, left, right);
                        next!(4)
                    }
                    Kind::$mov_rot => {
                        let v = mov!($rot_width);
                        let right = alu(AluOp::Rsh, Width::$rot_width, v, low(o.imm));
                        let left = alu(AluOp::Lsh, Width::$rot_width, v, high(o.imm));
                        $regs[o.dst] = right;
                        $regs[o.target as u8] = alu(AluOp::Or, Width::$rot_width, left, right);
                        next!(5)
                    })*
                    $(Kind::$two => {
                        let v = alu(AluOp::$first, Width::$two_width, whole(&$regs[o.dst]), o.imm);
                        $regs[o.dst] = alu(AluOp::$then, Width::$two_width, v, whole(&$regs[o.src]));
                        next!(2)
                    }
                    Kind::$mov_two => {
                        let v = alu(AluOp::$first, Width::$two_width, mov!($two_width), o.imm);
                        let by = whole(&$regs[o.target as u8]);
                        $regs[o.dst] = alu(AluOp::$then, Width::$two_width, v, by);
                        next!(3)
                    })*
                    $(Kind::$sx => {
                        $regs[o.dst] = movsx(Width::$sx_width, SxFrom::$from, whole(&$regs[o.src]));
                        next!(1)
                    })*
                    $(Kind::$swap => {
                        $regs[o.dst] = swap(SwapKind::$swap_kind, $bits, whole(&$regs[o.dst]));
                        next!(1)
                    })*
                    Kind::Neg64 => {
                        $regs[o.dst] = neg(Width::W64, whole(&$regs[o.dst]));
                        next!(1)
                    }
                    Kind::Neg32 => {
                        $regs[o.dst] = neg(Width::W32, whole(&$regs[o.dst]));
                        next!(1)
                    }
                    Kind::Wide => {
                        $regs[o.dst] = o.imm;
                        next!(2)
                    }
                    Kind::Goto => { let $to = o.target; $jump }
                    $kind @ (Kind::Helper | Kind::Call | Kind::Exit | Kind::Rest | Kind::End) => $other,
                }
            }};
        }
        pub(super) use run_op;
    };
}

kinds! {
    alu {
        Add AddR64 AddK64 AddR32 AddK32 MovAddR64 MovAddK64 MovAddR32 MovAddK32;
        Sub SubR64 SubK64 SubR32 SubK32 MovSubR64 MovSubK64 MovSubR32 MovSubK32;
        Mul MulR64 MulK64 MulR32 MulK32 MovMulR64 MovMulK64 MovMulR32 MovMulK32;
        Div DivR64 DivK64 DivR32 DivK32 MovDivR64 MovDivK64 MovDivR32 MovDivK32;
        SDiv SDivR64 SDivK64 SDivR32 SDivK32 MovSDivR64 MovSDivK64 MovSDivR32 MovSDivK32;
        Or OrR64 OrK64 OrR32 OrK32 MovOrR64 MovOrK64 MovOrR32 MovOrK32;
        And AndR64 AndK64 AndR32 AndK32 MovAndR64 MovAndK64 MovAndR32 MovAndK32;
        Lsh LshR64 LshK64 LshR32 LshK32 MovLshR64 MovLshK64 MovLshR32 MovLshK32;
        Rsh RshR64 RshK64 RshR32 RshK32 MovRshR64 MovRshK64 MovRshR32 MovRshK32;
        Mod ModR64 ModK64 ModR32 ModK32 MovModR64 MovModK64 MovModR32 MovModK32;
        SMod SModR64 SModK64 SModR32 SModK32 MovSModR64 MovSModK64 MovSModR32 MovSModK32;
        Xor XorR64 XorK64 XorR32 XorK32 MovXorR64 MovXorK64 MovXorR32 MovXorK32;
        Arsh ArshR64 ArshK64 ArshR32 ArshK32 MovArshR64 MovArshK64 MovArshR32 MovArshK32;
    }
    cond {
        Eq EqR64 EqK64 EqR32 EqK32 AddEqR64 AddEqK64 AddEqR32 AddEqK32;
        Gt GtR64 GtK64 GtR32 GtK32 AddGtR64 AddGtK64 AddGtR32 AddGtK32;
        Ge GeR64 GeK64 GeR32 GeK32 AddGeR64 AddGeK64 AddGeR32 AddGeK32;
        Set SetR64 SetK64 SetR32 SetK32 AddSetR64 AddSetK64 AddSetR32 AddSetK32;
        Ne NeR64 NeK64 NeR32 NeK32 AddNeR64 AddNeK64 AddNeR32 AddNeK32;
        Sgt SgtR64 SgtK64 SgtR32 SgtK32 AddSgtR64 AddSgtK64 AddSgtR32 AddSgtK32;
        Sge SgeR64 SgeK64 SgeR32 SgeK32 AddSgeR64 AddSgeK64 AddSgeR32 AddSgeK32;
        Lt LtR64 LtK64 LtR32 LtK32 AddLtR64 AddLtK64 AddLtR32 AddLtK32;
        Le LeR64 LeK64 LeR32 LeK32 AddLeR64 AddLeK64 AddLeR32 AddLeK32;
        Slt SltR64 SltK64 SltR32 SltK32 AddSltR64 AddSltK64 AddSltR32 AddSltK32;
        Sle SleR64 SleK64 SleR32 SleK32 AddSleR64 AddSleK64 AddSleR32 AddSleK32;
    }
    mem {
        B LoadB LoadSxB StoreB StoreKB AtLoadB AtStoreB SumLoadB SumStoreB;
        H LoadH LoadSxH StoreH StoreKH AtLoadH AtStoreH SumLoadH SumStoreH;
        W LoadW LoadSxW StoreW StoreKW AtLoadW AtStoreW SumLoadW SumStoreW;
        Dw LoadDw LoadSxDw StoreDw StoreKDw AtLoadDw AtStoreDw SumLoadDw SumStoreDw;
    }
    pair {
        AddAnd64 MovAddAnd64 Add W64 And W64;
        AddAnd32 MovAddAnd32 Add W32 And W32;
        AndLsh64 MovAndLsh64 And W64 Lsh W64;
        AndLsh32 MovAndLsh32 And W32 Lsh W32;
        And32Lsh64 MovAnd32Lsh64 And W32 Lsh W64;
        RshAnd64 MovRshAnd64 Rsh W64 And W64;
        RshAnd32 MovRshAnd32 Rsh W32 And W32;
        LshRsh64 MovLshRsh64 Lsh W64 Rsh W64;
        LshArsh64 MovLshArsh64 Lsh W64 Arsh W64;
        MulAdd64 MovMulAdd64 Mul W64 Add W64;
        MulAdd32 MovMulAdd32 Mul W32 Add W32;
        XorMul64 MovXorMul64 Xor W64 Mul W64;
        XorMul32 MovXorMul32 Xor W32 Mul W32;
    }
    rot {
        Rot64 MovRot64 W64;
        Rot32 MovRot32 W32;
    }
    two {
        LshOr64 MovLshOr64 Lsh Or W64;
        LshOr32 MovLshOr32 Lsh Or W32;
        RshOr64 MovRshOr64 Rsh Or W64;
        RshOr32 MovRshOr32 Rsh Or W32;
        RshXor64 MovRshXor64 Rsh Xor W64;
        RshXor32 MovRshXor32 Rsh Xor W32;
        LshXor64 MovLshXor64 Lsh Xor W64;
        LshXor32 MovLshXor32 Lsh Xor W32;
        RshAdd64 MovRshAdd64 Rsh Add W64;
        RshAdd32 MovRshAdd32 Rsh Add W32;
        LshAdd64 MovLshAdd64 Lsh Add W64;
        LshAdd32 MovLshAdd32 Lsh Add W32;
        AndAdd64 MovAndAdd64 And Add W64;
        AndAdd32 MovAndAdd32 And Add W32;
    }
    sx {
        SxB64 W64 B;
        SxH64 W64 H;
        SxW64 W64 W;
        SxB32 W32 B;
        SxH32 W32 H;
    }
    swap {
        Be16 ToBe 16;
        Be32 ToBe 32;
        Be64 ToBe 64;
        Le16 ToLe 16;
        Le32 ToLe 32;
        Le64 ToLe 64;
        Bswap16 Bswap 16;
        Bswap32 Bswap 32;
        Bswap64 Bswap 64;
    }
}

/// The low half, sign-extended: the first of two immediates.
#[inline(always)]
pub fn low(imm: u64) -> u64 {
    bpfassay_isa::semantics::imm(imm as i32)
}

/// The high half, sign-extended: the second of two immediates.
#[inline(always)]
pub fn high(imm: u64) -> u64 {
    bpfassay_isa::semantics::imm((imm >> 32) as i32)
}

/// The register in byte `nth`.
#[inline(always)]
pub fn pick(imm: u64, nth: u32) -> u8 {
    (imm >> (nth * 8)) as u8
}

/// One slot, operands ready.  Registers are at most 10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    pub kind: Kind,
    pub dst: u8,
    pub src: u8,
    /// Slot a jump goes to; for memory the signed offset; for fused operations a register.
    pub target: u32,
    /// Immediate, sign-extended.
    pub imm: u64,
}

impl Op {
    pub const REST: Op = Op { kind: Kind::Rest, dst: 0, src: 0, target: 0, imm: 0 };
    pub const END: Op = Op { kind: Kind::End, ..Op::REST };

    #[inline(always)]
    pub fn off(&self) -> u64 {
        self.target as i32 as i64 as u64
    }

    pub fn new(kind: Kind, dst: Reg, src: Operand) -> Op {
        let mut op = Op { kind, dst: dst.0, ..Op::REST };
        match src {
            Operand::Reg(r) => op.src = r.0,
            Operand::Imm(v) => op.imm = bpfassay_isa::semantics::imm(v),
        }
        op
    }
}
