//! What is proved, one operation a row: whatever the concrete operation makes of members of the operands is a
//! member of the abstract result.
//!
//! The abstract side is the verifier's own code and the concrete side is `isa::semantics`, both over bit vectors.
//! `RegState::sync` is a sequence of steps of which each is proved to keep every member, so it keeps them too.

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word};
use bpfassay_isa::{semantics, AluOp, Cond, SwapKind, SxFrom, Width};
use bpfassay_spec::{Features, Kernel, RegBase, RegType};
use bpfassay_verifier::domain::arith::Ranges;
use bpfassay_verifier::domain::compare::{is_scalar_branch_taken, Fact, Pair};
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::tnum::Tnum;
use z3::ast::Bool;

use crate::sym::{assume, variable, Full, Sym};

pub type U64 = Sym<64, false>;
pub type U32 = Sym<32, false>;
pub type Reg = RegState<Full>;

/// A question for the solver; with `weak` the abstract result has lost its greatest member, or a known bit
/// too many.
pub type Question = Box<dyn Fn(bool) -> Bool + Send + Sync>;

/// An abstract operation.
pub struct Operation {
    pub name: String,
    /// Bits of the words it is proved over.
    pub width: u32,
    /// Why not all 64 bits, where they are not.
    pub reason: Option<&'static str>,
    /// All must hold.
    pub questions: Vec<Question>,
    /// What a program that shows a weakened one to be wrong has to do.
    pub concrete: Option<Concrete>,
}

/// The instruction an operation stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concrete {
    Alu(AluOp, Width),
    Swap(SwapKind, u8),
    Movsx(Width, SxFrom),
    /// A move of the low half.
    Cut,
    Jump(Cond, Width),
}

fn all(terms: &[Bool]) -> Bool {
    Bool::and(terms)
}

/// `v` is a member of the tnum.
pub fn in_tnum(v: U64, t: Tnum<U64>) -> Bool {
    (v & !t.mask).is(t.value)
}

/// `v` lies in every view of the register.
pub fn in_reg(v: U64, r: &Reg) -> Bool {
    all(&[
        in_tnum(v, r.var_off),
        r.umin.up_to(v),
        v.up_to(r.umax),
        r.smin.up_to(v.signed()),
        v.signed().up_to(r.smax),
        r.u32_min.up_to(v.low()),
        v.low().up_to(r.u32_max),
        r.s32_min.up_to(v.low().signed()),
        v.low().signed().up_to(r.s32_max),
    ])
}

/// Any tnum with a member.
fn tnum(name: &str) -> (Tnum<U64>, U64) {
    let t =
        Tnum { value: variable(&format!("{name}.value")), mask: variable(&format!("{name}.mask")) };
    let v = variable(name);
    assume(in_tnum(v, t));
    (t, v)
}

/// Any scalar with a member.
pub fn reg(name: &str) -> (Reg, U64) {
    let r = any_reg(name);
    let v = variable(name);
    assume(in_reg(v, &r));
    (r, v)
}

fn any_reg(name: &str) -> Reg {
    let mut r = Reg::ZEROED;
    r.ty = RegType::of(RegBase::Scalar);
    r.var_off =
        Tnum { value: variable(&format!("{name}.value")), mask: variable(&format!("{name}.mask")) };
    r.smin = variable(&format!("{name}.smin"));
    r.smax = variable(&format!("{name}.smax"));
    r.umin = variable(&format!("{name}.umin"));
    r.umax = variable(&format!("{name}.umax"));
    r.s32_min = variable(&format!("{name}.s32_min"));
    r.s32_max = variable(&format!("{name}.s32_max"));
    r.u32_min = variable(&format!("{name}.u32_min"));
    r.u32_max = variable(&format!("{name}.u32_max"));
    r
}

/// Loses the greatest unsigned value unless it is the only one.
pub fn weaken_reg<B: Bits>(r: &mut RegState<B>, weak: bool) {
    if weak && r.umin < r.umax {
        r.umax = r.umax.minus(B::U64::lit(1));
    }
}

/// Takes the lowest unknown bit for a zero.
fn weaken_tnum(t: Tnum<U64>, weak: bool) -> Tnum<U64> {
    if weak {
        Tnum { mask: t.mask & t.mask.minus(U64::lit(1)), ..t }
    } else {
        t
    }
}

/// Every build that has rules of its own for ranges.
fn builds() -> Vec<Features> {
    ["6.18.44", "6.18.15"].iter().filter_map(|k| Kernel::by_name(k)).map(|k| k.features).collect()
}

fn question(f: impl Fn(bool) -> Bool + Send + Sync + 'static) -> Question {
    Box::new(f)
}

fn row(name: impl Into<String>, questions: Vec<Question>) -> Operation {
    Operation { name: name.into(), width: 64, reason: None, questions, concrete: None }
}

fn with_concrete(concrete: Concrete, op: Operation) -> Operation {
    Operation { concrete: Some(concrete), ..op }
}

/// Every operation, in the order of the domain's files.
pub fn all_operations() -> Vec<Operation> {
    let mut ops = tnums();
    ops.extend(tnum_moves());
    ops.extend(steps());
    ops.extend(arithmetic());
    ops.extend(shifts());
    ops.extend(sizes());
    ops.extend(comparisons());
    ops.extend(coverage());
    ops
}

fn binary_tnum(name: &str, op: AluOp, f: fn(Tnum<U64>, Tnum<U64>) -> Tnum<U64>) -> Operation {
    row(
        name,
        vec![question(move |weak| {
            let ((a, x), (b, y)) = (tnum("x"), tnum("y"));
            let exact = semantics::alu_of::<Full>(op, Width::W64, x, y);
            in_tnum(exact, weaken_tnum(f(a, b), weak))
        })],
    )
}

fn tnums() -> Vec<Operation> {
    let two = |f: fn(Tnum<U64>, U64, Tnum<U64>, U64, bool) -> Bool| {
        vec![question(move |weak| {
            let ((a, x), (b, y)) = (tnum("x"), tnum("y"));
            f(a, x, b, y, weak)
        })]
    };
    vec![
        binary_tnum("tnum_add", AluOp::Add, Tnum::add),
        binary_tnum("tnum_sub", AluOp::Sub, Tnum::sub),
        binary_tnum("tnum_and", AluOp::And, Tnum::and),
        binary_tnum("tnum_or", AluOp::Or, Tnum::or),
        binary_tnum("tnum_xor", AluOp::Xor, Tnum::xor),
        row(
            "tnum_neg",
            vec![question(|weak| {
                let (a, x) = tnum("x");
                let exact = semantics::neg_of::<Full>(Width::W64, x);
                in_tnum(exact, weaken_tnum(a.neg(), weak))
            })],
        ),
        row(
            "tnum_union",
            two(|a, x, b, y, weak| {
                let u = weaken_tnum(a.union(b), weak);
                all(&[in_tnum(x, u), in_tnum(y, u)])
            }),
        ),
        row(
            "tnum_intersect",
            two(|a, x, b, _, weak| {
                in_tnum(x, b).implies(in_tnum(x, weaken_tnum(a.intersect(b), weak)))
            }),
        ),
        row(
            "tnum_overlap",
            two(|a, x, b, _, weak| {
                let overlaps = a.overlaps(b) && !weak;
                Bool::from_bool(overlaps).or_else_not(in_tnum(x, b))
            }),
        ),
        row(
            "tnum_in",
            two(|a, x, b, _, weak| {
                let includes = b.includes(a) || weak;
                Bool::from_bool(!includes).or_else(in_tnum(x, b))
            }),
        ),
        row("tnum_mul: one row", vec![question(mul_row)]),
        Operation {
            width: 8,
            reason: Some("the rows of a product sum up to it: multiplication of words"),
            ..row("tnum_mul: sum of rows", vec![question(mul_sum)])
        },
    ]
}

/// Shorter ways to write what a bool decided on this path asks for.
trait Decided {
    /// `self`, or the negation of the other.
    fn or_else_not(self, other: Bool) -> Bool;
    fn or_else(self, other: Bool) -> Bool;
}

impl Decided for Bool {
    fn or_else_not(self, other: Bool) -> Bool {
        Bool::or(&[self, other.not()])
    }
    fn or_else(self, other: Bool) -> Bool {
        Bool::or(&[self, other])
    }
}

/// `s + (x & 1) * y` is a member of the sum after the row.
fn mul_row(weak: bool) -> Bool {
    let ((acc, s), (a, x), (b, y)) = (tnum("s"), tnum("x"), tnum("y"));
    let row = if x & U64::lit(1) != U64::ZERO { y } else { U64::ZERO };
    in_tnum(s.plus(row), weaken_tnum(acc.plus_one_row(a, b), weak))
}

/// `x * y` is `(x & 1) * y + (x >> 1) * (y << 1)`, so that going on with halved and doubled operands is right;
/// with no bits of `x` left there is nothing to add.
fn mul_sum(_: bool) -> Bool {
    let (x, y): (Sym<8, false>, Sym<8, false>) = (variable("x"), variable("y"));
    let first = (x & Sym::lit(1)).times(y);
    x.times(y).is(first.plus((x >> 1).times(y << 1)))
}

fn tnum_moves() -> Vec<Operation> {
    let shift = |name: &str, op: AluOp, width: Width, f: fn(Tnum<U64>, u8) -> Tnum<U64>| {
        let bits = if width == Width::W64 { 64 } else { 32u8 };
        let each = move |n: u8| {
            question(move |weak| {
                let (a, x) = tnum("x");
                let exact = semantics::alu_of::<Full>(op, width, x, U64::lit(n.into()));
                in_tnum(exact, weaken_tnum(f(a, n), weak))
            })
        };
        row(name, (0..bits).map(each).collect())
    };
    let swap = |bits: u8| {
        question(move |weak| {
            let (a, x) = tnum("x");
            let exact = semantics::swap_of::<Full>(SwapKind::Bswap, bits, x);
            in_tnum(exact, weaken_tnum(a.bswap(bits.into()), weak))
        })
    };
    let one = |f: fn(Tnum<U64>, U64, bool) -> Bool| {
        vec![question(move |weak| {
            let (a, x) = tnum("x");
            f(a, x, weak)
        })]
    };
    vec![
        shift("tnum_lshift", AluOp::Lsh, Width::W64, Tnum::lshift),
        shift("tnum_rshift", AluOp::Rsh, Width::W64, Tnum::rshift),
        shift("tnum_arshift", AluOp::Arsh, Width::W64, Tnum::arshift64),
        shift("tnum_arshift, low half", AluOp::Arsh, Width::W32, Tnum::arshift32),
        row("tnum_bswap", [16, 32, 64].map(swap).into()),
        row(
            "tnum_cast",
            one(|a, x, weak| {
                let cut = |bytes: u32| {
                    let kept = x & (U64::MAX >> (64 - bytes * 8));
                    in_tnum(kept, weaken_tnum(a.cast(bytes), weak))
                };
                all(&[1, 2, 4].map(cut))
            }),
        ),
        row(
            "tnum_subreg and its kin",
            one(|a, x, weak| {
                let (b, y) = tnum("y");
                let low = |v: U64| v & U64::LOW;
                all(&[
                    in_tnum(low(x), weaken_tnum(a.subreg(), weak)),
                    in_tnum(x & !U64::LOW, a.clear_subreg()),
                    in_tnum((x & !U64::LOW) | low(y), a.with_subreg(b)),
                    in_tnum((x & !U64::LOW) | low(y), a.with_const_subreg(y.low())),
                ])
            }),
        ),
        row(
            "tnum_range",
            vec![question(|weak| {
                let (min, x, max): (U64, U64, U64) =
                    (variable("min"), variable("x"), variable("max"));
                let inside = all(&[min.up_to(x), x.up_to(max)]);
                inside.implies(in_tnum(x, weaken_tnum(Tnum::range(min, max), weak)))
            })],
        ),
        row(
            "tnum_step",
            one(|a, x, weak| {
                let z: U64 = variable("z");
                let next = a.step(z);
                let next = if weak { next.plus(U64::lit(1)) } else { next };
                // A member, and no member lies between.
                all(&[in_tnum(next, a), Bool::or(&[x.up_to(z), next.up_to(x)])])
            }),
        ),
    ]
}

/// A step that changes one register's bounds and loses no member.
fn keeps(name: &str, f: impl Fn(&mut Reg) + Send + Sync + 'static) -> Operation {
    row(
        name,
        vec![question(move |weak| {
            let (mut r, x) = reg("x");
            f(&mut r);
            weaken_reg(&mut r, weak);
            in_reg(x, &r)
        })],
    )
}

fn for_builds(name: &str, f: fn(&mut Reg, Features)) -> Operation {
    let each = |features: Features| keeps(name, move |r| f(r, features)).questions;
    row(name, builds().into_iter().flat_map(each).collect())
}

fn steps() -> Vec<Operation> {
    vec![
        keeps("__update_reg32_bounds", Reg::learn_range32_from_tnum),
        keeps("__update_reg64_bounds", Reg::learn_range64_from_tnum),
        keeps("__update_reg_bounds: one value left", Reg::learn_single_value),
        keeps("__reg32_deduce_bounds: equal upper halves", Reg::deduce_32_from_equal_upper_halves),
        keeps("__reg32_deduce_bounds: around zero", Reg::deduce_32_around_zero),
        for_builds("__reg32_deduce_bounds: each other", Reg::deduce_32_from_each_other),
        keeps("__reg64_deduce_bounds", Reg::deduce_64),
        keeps("__reg_deduce_mixed_bounds: low half", Reg::tighten_64_with_low),
        keeps("__reg_deduce_mixed_bounds: int", Reg::deduce_64_from_int),
        keeps("__reg_bound_offset", Reg::learn_tnum_from_ranges),
        keeps("__mark_reg_unbounded", Reg::mark_unbounded),
        row(
            "__mark_reg_known",
            vec![question(|weak| {
                let (mut r, x) = reg("x");
                r.mark_known(x);
                let mut low = any_reg("y");
                low.mark_unbounded();
                let y = variable("y");
                assume(in_tnum(y, low.var_off));
                low.mark_known32(x.low());
                let exact = (y & !U64::LOW) | (x & U64::LOW);
                let exact = if weak { exact.plus(U64::lit(1)) } else { exact };
                all(&[in_reg(x, &r), in_reg(exact, &low)])
            })],
        ),
    ]
}

/// A binary operation on two registers, both widths.
fn binary_alu(op: AluOp, f: fn(&mut Reg, &Reg, Features)) -> Vec<Operation> {
    let widths = [(Width::W64, 64), (Width::W32, 32)];
    let of = |(width, bits): (Width, u32)| {
        let ask = |features: Features| {
            question(move |weak| {
                let ((mut a, x), (b, y)) = (reg("x"), reg("y"));
                f(&mut a, &b, features);
                if width == Width::W32 {
                    a.zext_32_to_64();
                }
                weaken_reg(&mut a, weak);
                in_reg(semantics::alu_of::<Full>(op, width, x, y), &a)
            })
        };
        let name = format!("{}{bits}", format!("{op:?}").to_lowercase());
        with_concrete(Concrete::Alu(op, width), row(name, builds().into_iter().map(ask).collect()))
    };
    widths.map(of).into()
}

fn arithmetic() -> Vec<Operation> {
    let mut ops = Vec::new();
    // Sum, difference and product take each view by itself: the tnum, and the ranges of either width.
    for (op, f64, f32) in [
        (AluOp::Add, Ranges::add as RangeOp<64>, Ranges::add as RangeOp<32>),
        (AluOp::Sub, Ranges::sub, Ranges::sub),
    ] {
        ops.push(ranges::<64>(op, Width::W64, f64));
        ops.push(ranges::<32>(op, Width::W32, f32));
    }
    ops.extend(binary_alu(AluOp::And, Reg::alu_and));
    ops.extend(binary_alu(AluOp::Or, Reg::alu_or));
    ops.extend(binary_alu(AluOp::Xor, Reg::alu_xor));
    ops.push(Operation {
        width: 8,
        reason: Some("order of products: multiplication of words"),
        ..ranges::<8>(AluOp::Mul, Width::W64, |a, b, _| a.mul(b))
    });
    ops.push(row(
        "linked scalars",
        [false, true]
            .map(|cuts| {
                question(move |weak| {
                    let (mut r, x) = reg("x");
                    let delta: Sym<64, true> = variable("delta");
                    r.move_by(delta, cuts, builds()[0]);
                    weaken_reg(&mut r, weak);
                    let width = if cuts { Width::W32 } else { Width::W64 };
                    let exact = semantics::alu_of::<Full>(AluOp::Add, width, x, delta.unsigned());
                    in_reg(exact, &r)
                })
            })
            .into(),
    ));
    ops
}

type RangeOp<const N: u32> =
    fn(Ranges<Sym<N, false>>, Ranges<Sym<N, false>>, Features) -> Ranges<Sym<N, false>>;

/// An operation that takes the ranges of one width and nothing else.
fn ranges<const N: u32>(op: AluOp, width: Width, f: RangeOp<N>) -> Operation {
    let features = builds().first().copied().unwrap_or_default();
    let ask = move |weak| {
        let any = |n: &str| Ranges::<Sym<N, false>> {
            smin: variable(&format!("{n}.smin")),
            smax: variable(&format!("{n}.smax")),
            umin: variable(&format!("{n}.umin")),
            umax: variable(&format!("{n}.umax")),
        };
        let inside = |v: Sym<N, false>, r: &Ranges<Sym<N, false>>| {
            all(&[
                r.umin.up_to(v),
                v.up_to(r.umax),
                r.smin.up_to(v.signed()),
                v.signed().up_to(r.smax),
            ])
        };
        let (a, b) = (any("x"), any("y"));
        let (x, y) = (variable("x"), variable("y"));
        assume(all(&[inside(x, &a), inside(y, &b)]));
        let mut result = f(a, b, features);
        if weak && result.umin < result.umax {
            result.umax = result.umax.minus(Sym::lit(1));
        }
        inside(semantics::alu_word(op, x, y), &result)
    };
    let bits = if width == Width::W64 { 64 } else { 32 };
    let name = format!("{}{bits}, ranges", format!("{op:?}").to_lowercase());
    with_concrete(
        Concrete::Alu(op, width),
        Operation { width: N, ..row(name, vec![question(ask)]) },
    )
}

fn shifts() -> Vec<Operation> {
    type Shift = fn(&mut Reg, u32, Features);
    let rows: [(AluOp, Width, Shift); 6] = [
        (AluOp::Lsh, Width::W64, Reg::alu_lsh64),
        (AluOp::Lsh, Width::W32, |r, n, _| r.alu_lsh32(n)),
        (AluOp::Rsh, Width::W64, Reg::alu_rsh64),
        (AluOp::Rsh, Width::W32, |r, n, _| r.alu_rsh32(n)),
        (AluOp::Arsh, Width::W64, Reg::alu_arsh64),
        (AluOp::Arsh, Width::W32, |r, n, _| r.alu_arsh32(n)),
    ];
    rows.into_iter()
        .map(|(op, width, f)| {
            let bits = if width == Width::W64 { 64 } else { 32 };
            let counts = (0..bits).flat_map(|n| builds().into_iter().map(move |b| (n, b)));
            let ask = |(n, features): (u32, Features)| {
                question(move |weak| {
                    let (mut r, x) = reg("x");
                    f(&mut r, n, features);
                    if width == Width::W32 {
                        r.zext_32_to_64();
                    }
                    weaken_reg(&mut r, weak);
                    in_reg(semantics::alu_of::<Full>(op, width, x, U64::lit(n.into())), &r)
                })
            };
            let name = format!("{}{bits}", format!("{op:?}").to_lowercase());
            with_concrete(Concrete::Alu(op, width), row(name, counts.map(ask).collect()))
        })
        .collect()
}

fn sizes() -> Vec<Operation> {
    let mut ops = Vec::new();
    for bits in [16u8, 32, 64] {
        for (swaps, kind, name) in [(true, SwapKind::Bswap, "bswap"), (false, SwapKind::ToLe, "le")]
        {
            let ask = move |weak| {
                let (mut r, x) = reg("x");
                r.swap_or_cut(swaps, bits.into());
                weaken_reg(&mut r, weak);
                in_reg(semantics::swap_of::<Full>(kind, bits, x), &r)
            };
            let op = row(format!("{name}{bits}"), vec![question(ask)]);
            ops.push(with_concrete(Concrete::Swap(kind, bits), op));
        }
    }
    let sizes = [(1, SxFrom::B), (2, SxFrom::H), (4, SxFrom::W)];
    for (bytes, from) in sizes {
        let cut = move |r: &mut Reg| r.cut_to_size(bytes);
        ops.push(row(
            format!("coerce_reg_to_size {bytes}"),
            vec![question(move |weak| {
                let (mut r, x) = reg("x");
                cut(&mut r);
                weaken_reg(&mut r, weak);
                in_reg(x & (U64::MAX >> (64 - bytes * 8)), &r)
            })],
        ));
        for width in [Width::W64, Width::W32] {
            if width == Width::W32 && bytes == 4 {
                continue;
            }
            let ask = move |weak| {
                let (mut r, x) = reg("x");
                match width {
                    Width::W64 => r.coerce_to_size_sx(bytes),
                    Width::W32 => {
                        r.coerce_subreg_to_size_sx(bytes);
                        r.zext_32_to_64();
                    }
                }
                weaken_reg(&mut r, weak);
                in_reg(semantics::movsx_of::<Full>(width, from, x), &r)
            };
            let name = match width {
                Width::W64 => format!("coerce_reg_to_size_sx {bytes}"),
                Width::W32 => format!("coerce_subreg_to_size_sx {bytes}"),
            };
            ops.push(with_concrete(Concrete::Movsx(width, from), row(name, vec![question(ask)])));
        }
    }
    ops.push(with_concrete(
        Concrete::Cut,
        row(
            "zext_32_to_64",
            vec![question(|weak| {
                let (mut r, x) = reg("x");
                r.zext_32_to_64();
                weaken_reg(&mut r, weak);
                in_reg(x & U64::LOW, &r)
            })],
        ),
    ));
    ops
}

fn comparisons() -> Vec<Operation> {
    let mut ops = Vec::new();
    for cond in Cond::ALL {
        for (width, bits) in [(Width::W64, 64), (Width::W32, 32)] {
            let name = format!("j{}{bits}", format!("{cond:?}").to_lowercase());
            for taken in [true, false] {
                let side = if taken { "taken" } else { "not taken" };
                let ask = |same| question(move |weak| refined(cond, width, taken, same, weak));
                ops.push(with_concrete(
                    Concrete::Jump(cond, width),
                    row(format!("{name}, {side}"), [false, true].map(ask).into()),
                ));
            }
            let ask = |same| question(move |weak| decided(cond, width, same, weak));
            ops.push(row(format!("{name}, decided"), [false, true].map(ask).into()));
        }
    }
    ops
}

/// Two operands, or one register against itself.
fn operands(same: bool) -> ((Reg, U64), (Reg, U64)) {
    let a = reg("x");
    (a, if same { a } else { reg("y") })
}

/// Where the comparison comes out that way, both operands stay in what is learnt from it.
fn refined(cond: Cond, width: Width, taken: bool, same: bool, weak: bool) -> Bool {
    let ((a, x), (b, y)) = operands(same);
    if semantics::cond_of::<Full>(cond, width, x, y) != taken {
        return Bool::from_bool(true);
    }
    let mut pair = Pair::of(a, b, same);
    pair.learn(if taken { Fact::Holds(cond) } else { Fact::not(cond) }, width);
    weaken_reg(pair.first_mut(), weak);
    all(&[in_reg(x, pair.first()), in_reg(y, pair.second())])
}

/// A direction that is called certain is the one taken.
fn decided(cond: Cond, width: Width, same: bool, weak: bool) -> Bool {
    let ((a, x), (b, y)) = operands(same);
    let decision = is_scalar_branch_taken(&a, &b, cond, width);
    let decision = if weak { decision.or(Some(true)) } else { decision };
    let holds = match decision {
        None => true,
        Some(side) => semantics::cond_of::<Full>(cond, width, x, y) == side,
    };
    Bool::from_bool(holds)
}

fn coverage() -> Vec<Operation> {
    vec![row(
        "regsafe: scalars",
        vec![question(|weak| {
            let (cur, x) = reg("x");
            let old = any_reg("old");
            if !(old.range_includes(&cur) || weak) || !old.var_off.includes(cur.var_off) {
                return Bool::from_bool(true);
            }
            in_reg(x, &old)
        })],
    )]
}
