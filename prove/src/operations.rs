//! What is proved, one operation a row: whatever the concrete operation makes of members of the operands is a
//! member of the abstract result.
//!
//! The abstract side is the verifier's own code and the concrete side is `isa::semantics`, both over a machine whose
//! words a solver knows: at full width, and once more over 8-bit registers for what is too hard there.
//! `RegState::sync` is a sequence of steps of which each is proved to keep every member, so it keeps them too.

use bpfassay_isa::bits::{Bits, Unsigned, Whole, Word, U64};
use bpfassay_isa::{semantics, AluOp, Cond, SwapKind, SxFrom, Width};
use bpfassay_spec::{Config, Features, Kernel, RegBase, RegType};
use bpfassay_verifier::domain::arith::Ranges;
use bpfassay_verifier::domain::compare::{is_scalar_branch_taken, Fact, Pair};
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::tnum::Tnum;
use z3::ast::Bool;

use crate::act::{bytes_of, Act, Step};
use crate::sym::{assume, Term, Words};
use crate::weak::{weaken_reg, weaken_tnum};

/// A question for the solver; with `weak` the abstract result is less than the shipped one.
pub type Question = Box<dyn Fn(bool) -> Bool + Send + Sync>;

/// An abstract operation, asked about over one machine.
pub struct Operation {
    pub name: String,
    /// Bits of the machine's registers.
    pub width: u32,
    /// Why there is no point in asking at full width.
    pub hard: Option<&'static str>,
    /// All must hold.
    pub questions: Vec<Question>,
    /// What a program has to do that shows a weakened one to be wrong.
    pub concrete: Concrete,
    /// A served kernel whose rules these are, for that program.
    pub release: &'static str,
}

/// How an operation shows in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concrete {
    /// It makes a register; with `bits` the known bits are what is weakened.
    Act { act: Act, bits: bool },
    /// It narrows the registers that a jump compares, on the side taken or the other.
    Jump { cond: Cond, width: Width, taken: bool, bits: bool },
    /// The same of a jump that compares with a constant, by rules of before 6.8.
    JumpByConstant { cond: Cond, width: Width, taken: bool },
    /// It says which way a jump goes.
    Decided { cond: Cond, width: Width },
    /// The same of a register compared with itself, by rules of 7.2 and later.
    DecidedAlone { cond: Cond, width: Width },
    /// It says that one state covers another.
    Covers,
}

pub const fn acts(act: Act) -> Concrete {
    Concrete::Act { act, bits: false }
}

pub const fn bits(act: Act) -> Concrete {
    Concrete::Act { act, bits: true }
}

pub fn all(terms: &[Bool]) -> Bool {
    Bool::and(terms)
}

pub fn holds(always: bool) -> Bool {
    Bool::from_bool(always)
}

/// `v` is a member of the tnum.
pub fn in_tnum<W: Whole + Term>(v: W, t: Tnum<W>) -> Bool {
    (v & !t.mask).is(t.value)
}

/// `v` lies in every view of the register.
pub fn in_reg<B: Words>(v: B::U64, r: &RegState<B>) -> Bool {
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

pub fn var<W: Term>(name: &str, part: &str) -> W {
    W::variable(&format!("{name}{part}"))
}

pub fn any_tnum<W: Whole + Term>(name: &str) -> Tnum<W> {
    Tnum { value: var(name, ".value"), mask: var(name, ".mask") }
}

/// Any tnum with a member.
pub fn tnum<W: Whole + Term>(name: &str) -> (Tnum<W>, W) {
    let (t, v) = (any_tnum(name), W::variable(name));
    assume(in_tnum(v, t));
    (t, v)
}

/// Any scalar with a member.
pub fn reg<B: Words>(name: &str) -> (RegState<B>, B::U64) {
    let (r, v) = (any_reg(name), B::U64::variable(name));
    assume(in_reg(v, &r));
    (r, v)
}

pub fn any_reg<B: Words>(name: &str) -> RegState<B> {
    let mut r = RegState::ZEROED;
    r.ty = RegType::of(RegBase::Scalar);
    r.var_off = any_tnum(name);
    r.smin = var(name, ".smin");
    r.smax = var(name, ".smax");
    r.umin = var(name, ".umin");
    r.umax = var(name, ".umax");
    r.s32_min = var(name, ".s32_min");
    r.s32_max = var(name, ".s32_max");
    r.u32_min = var(name, ".u32_min");
    r.u32_max = var(name, ".u32_max");
    r
}

/// The sets of rules for ranges that some release has.
pub fn rules() -> Vec<Features> {
    let mut all: Vec<Features> = Vec::new();
    for release in ["6.18.44", "6.18.15", "6.12.118", "6.1.192", "5.10.262"] {
        let kernel = Kernel::of_release(release, "x86_64", Config::default());
        let Some(new) = kernel.map(|k| k.features) else { continue };
        let of = |f: &Features| {
            let deduced = (f.deduce_u32_across_sign, f.tnum_single_value, f.bounds_exchanged);
            let signs = (f.lsh_by_32_keeps_sign, f.signs_by_result);
            (deduced, signs, f.mul_of_any_sign, f.wrapped_ranges_kept)
        };
        if !all.iter().any(|f| of(f) == of(&new)) {
            all.push(new);
        }
    }
    all
}

pub fn question(f: impl Fn(bool) -> Bool + Send + Sync + 'static) -> Question {
    Box::new(f)
}

pub fn row<B: Words>(
    name: impl Into<String>,
    concrete: Concrete,
    questions: Vec<Question>,
) -> Operation {
    let name = name.into();
    Operation { name, width: B::WIDTH, hard: None, questions, concrete, release: "6.18" }
}

/// Every operation, in the order of the domain's files; the same rows for each machine.
pub fn all_operations<B: Words>() -> Vec<Operation> {
    let mut ops = tnums::<B>();
    ops.extend(tnum_moves::<B>());
    ops.extend(steps::<B>());
    ops.extend(arithmetic::<B>());
    ops.extend(shifts::<B>());
    ops.extend(sizes::<B>());
    ops.extend(comparisons::<B>());
    ops.extend(coverage::<B>());
    ops.extend(crate::older::all_operations::<B>());
    ops.extend(crate::arcs::all_operations::<B>());
    ops
}

type TnumOp<B> = fn(Tnum<U64<B>>, Tnum<U64<B>>) -> Tnum<U64<B>>;

fn binary_tnum<B: Words>(name: &str, op: AluOp, f: TnumOp<B>) -> Operation {
    let ask = move |weak| {
        let ((a, x), (b, y)) = (tnum("x"), tnum("y"));
        let exact = semantics::alu_of::<B>(op, Width::W64, x, y);
        in_tnum(exact, weaken_tnum(f(a, b), weak))
    };
    row::<B>(name, bits(Act::Alu(op, Width::W64)), vec![question(ask)])
}

fn tnums<B: Words>() -> Vec<Operation> {
    let jump = |taken, bits| Concrete::Jump { cond: Cond::Eq, width: Width::W64, taken, bits };
    let neg = question(|weak| {
        let (a, x) = tnum::<B::U64>("x");
        let exact = semantics::neg_of::<B>(Width::W64, x);
        in_tnum(exact, weaken_tnum(a.neg(), weak))
    });
    let union = question(|weak| {
        let ((a, x), (b, y)) = (tnum::<B::U64>("x"), tnum("y"));
        let u = weaken_tnum(a.union(b), weak);
        all(&[in_tnum(x, u), in_tnum(y, u)])
    });
    let intersect = question(|weak| {
        let ((a, x), b) = (tnum::<B::U64>("x"), any_tnum("y"));
        assume(in_tnum(x, b));
        in_tnum(x, weaken_tnum(a.intersect(b), weak))
    });
    let overlap = question(|weak| {
        let ((a, x), b) = (tnum::<B::U64>("x"), any_tnum("y"));
        assume(in_tnum(x, b));
        holds(a.overlaps(b) && !weak)
    });
    let within = question(|weak| {
        let ((a, x), b) = (tnum::<B::U64>("x"), any_tnum("y"));
        Bool::or(&[holds(!(b.includes(a) || weak)), in_tnum(x, b)])
    });
    vec![
        binary_tnum::<B>("tnum_add", AluOp::Add, Tnum::add),
        binary_tnum::<B>("tnum_sub", AluOp::Sub, Tnum::sub),
        binary_tnum::<B>("tnum_and", AluOp::And, Tnum::and),
        binary_tnum::<B>("tnum_or", AluOp::Or, Tnum::or),
        binary_tnum::<B>("tnum_xor", AluOp::Xor, Tnum::xor),
        row::<B>("tnum_neg", bits(Act::Neg), vec![neg]),
        row::<B>("tnum_union", bits(Act::Alu(AluOp::Mul, Width::W64)), vec![union]),
        row::<B>("tnum_intersect", jump(true, true), vec![intersect]),
        row::<B>(
            "tnum_overlap",
            Concrete::Decided { cond: Cond::Eq, width: Width::W64 },
            vec![overlap],
        ),
        row::<B>("tnum_in", Concrete::Covers, vec![within]),
        row::<B>(
            "tnum_mul: one row",
            bits(Act::Alu(AluOp::Mul, Width::W64)),
            vec![question(mul_row::<B>)],
        ),
        Operation {
            hard: Some("the rows of a product sum up to it: multiplication of words"),
            ..row::<B>(
                "tnum_mul: sum of rows",
                bits(Act::Alu(AluOp::Mul, Width::W64)),
                vec![question(mul_sum::<B>)],
            )
        },
    ]
}

/// `s + (x & 1) * y` is a member of the sum after the row.
fn mul_row<B: Words>(weak: bool) -> Bool {
    let ((acc, s), (a, x), (b, y)) = (tnum::<B::U64>("s"), tnum("x"), tnum("y"));
    let row = if x & B::U64::lit(1) != B::U64::ZERO { y } else { B::U64::ZERO };
    in_tnum(s.plus(row), weaken_tnum(acc.plus_one_row(a, b), weak))
}

/// `x * y` is `(x & 1) * y + (x >> 1) * (y << 1)`, so that going on with halved and doubled operands is right;
/// with no bits of `x` left there is nothing to add.
pub fn mul_sum<B: Words>(weak: bool) -> Bool {
    let (x, y): (B::U64, B::U64) = (var("x", ""), var("y", ""));
    let one = B::U64::lit(1);
    let first = if weak { y } else { (x & one).times(y) };
    x.times(y).is(first.plus((x >> 1).times(y << 1)))
}

fn tnum_shift<B: Words>(
    name: &str,
    op: AluOp,
    width: Width,
    f: fn(Tnum<U64<B>>, u8) -> Tnum<U64<B>>,
) -> Operation {
    let each = move |n: u32| {
        question(move |weak| {
            let (a, x) = tnum("x");
            let exact = semantics::alu_of::<B>(op, width, x, B::U64::lit(n.into()));
            in_tnum(exact, weaken_tnum(f(a, n as u8), weak))
        })
    };
    let concrete = bits(Act::Shift(op, width, 1));
    row::<B>(name, concrete, (0..word_bits::<B>(width)).map(each).collect())
}

pub fn word_bits<B: Bits>(width: Width) -> u32 {
    match width {
        Width::W64 => B::U64::BITS,
        Width::W32 => B::U32::BITS,
    }
}

fn tnum_moves<B: Words>() -> Vec<Operation> {
    let swaps = [16, 32, 64].into_iter().filter(|b| *b <= B::WIDTH).map(|bits| {
        question(move |weak| {
            let (a, x) = tnum("x");
            let exact = semantics::swap_of::<B>(SwapKind::Bswap, bits as u8, x);
            in_tnum(exact, weaken_tnum(a.bswap(bits), weak))
        })
    });
    let casts = [1, 2, 4].into_iter().filter(|b| b * 8 < B::WIDTH).map(|bytes| {
        question(move |weak| {
            let (a, x) = tnum::<B::U64>("x");
            let kept = Act::Cut(bytes).exact::<B>(x, x);
            in_tnum(kept, weaken_tnum(a.cast(bytes), weak))
        })
    });
    let halves = question(|weak| {
        let ((a, x), (b, y)) = (tnum::<B::U64>("x"), tnum("y"));
        let low = |v: B::U64| v & B::U64::LOW;
        let high = |v: B::U64| v & !B::U64::LOW;
        all(&[
            in_tnum(low(x), weaken_tnum(a.subreg(), weak)),
            in_tnum(high(x), a.clear_subreg()),
            in_tnum(high(x) | low(y), a.with_subreg(b)),
            in_tnum(high(x) | low(y), a.with_const_subreg(y.low())),
        ])
    });
    let range = question(|weak| {
        let (min, x, max): (B::U64, B::U64, B::U64) =
            (var("min", ""), var("x", ""), var("max", ""));
        assume(all(&[min.up_to(x), x.up_to(max)]));
        in_tnum(x, weaken_tnum(Tnum::range(min, max), weak))
    });
    let step = question(|weak| {
        let (a, x) = tnum::<B::U64>("x");
        let z: B::U64 = var("z", "");
        let next = a.step(z);
        let next = if weak { next.plus(B::U64::lit(1)) } else { next };
        // A member, and no member lies between.
        all(&[in_tnum(next, a), Bool::or(&[x.up_to(z), next.up_to(x)])])
    });
    vec![
        tnum_shift::<B>("tnum_lshift", AluOp::Lsh, Width::W64, Tnum::lshift),
        tnum_shift::<B>("tnum_rshift", AluOp::Rsh, Width::W64, Tnum::rshift),
        tnum_shift::<B>("tnum_arshift", AluOp::Arsh, Width::W64, Tnum::arshift64),
        tnum_shift::<B>("tnum_arshift, low half", AluOp::Arsh, Width::W32, Tnum::arshift32),
        row::<B>("tnum_bswap", bits(Act::Swap(SwapKind::Bswap, 64)), swaps.collect()),
        row::<B>("tnum_cast", bits(Act::Cut(4)), casts.collect()),
        row::<B>("tnum_subreg and its kin", bits(Act::Zext), vec![halves]),
        row::<B>("tnum_range", bits(Act::Step(Step::TnumFromRanges)), vec![range]),
        row::<B>("tnum_step", acts(Act::Step(Step::SingleValue)), vec![step]),
    ]
}

/// An act on a register, with a register or a constant, as each set of rules has it.
fn act<B: Words>(name: impl Into<String>, act: Act) -> Operation {
    act_of_each::<B>(name, vec![act])
}

fn act_of_each<B: Words>(name: impl Into<String>, each: Vec<Act>) -> Operation {
    let first = each[0];
    let pairs = each.into_iter().flat_map(|a| rules_of(a).into_iter().map(move |f| (a, f)));
    let asks = pairs.map(|(a, f)| question(move |weak| acted::<B>(a, &f, weak)));
    row::<B>(name, acts(first), asks.collect())
}

/// Rules differ for these only.
fn rules_of(act: Act) -> Vec<Features> {
    let mut rules = rules();
    let has_rules = matches!(
        act,
        Act::Step(Step::EachOther32)
            | Act::Alu(AluOp::And | AluOp::Or | AluOp::Xor, _)
            | Act::Shift(_, Width::W64, _)
            | Act::Neg
            | Act::Cut(_)
            | Act::Follow { .. }
    );
    if !has_rules {
        rules.truncate(1);
    }
    rules
}

fn acted<B: Words>(act: Act, f: &Features, weak: bool) -> Bool {
    let mut a = any_reg::<B>("x");
    if act == Act::KnownLow {
        // The low half alone changes, so ranges of the whole were forgotten before.
        a.mark_unbounded();
    }
    let x = B::U64::variable("x");
    assume(in_reg(x, &a));
    let (b, y) = match act {
        Act::Alu(..) => reg::<B>("y"),
        _ => constant("y"),
    };
    act.apply(&mut a, &b, f);
    weaken_reg(&mut a, weak);
    in_reg(act.exact::<B>(x, y), &a)
}

/// A known register and its value.
pub fn constant<B: Words>(name: &str) -> (RegState<B>, B::U64) {
    let v = B::U64::variable(name);
    (RegState::constant_scalar(v), v)
}

fn steps<B: Words>() -> Vec<Operation> {
    let mut ops: Vec<Operation> =
        Step::ALL.into_iter().map(|(step, name)| act::<B>(name, Act::Step(step))).collect();
    ops.push(act::<B>("___mark_reg_known", Act::Known));
    ops.push(act::<B>("__mark_reg32_known", Act::KnownLow));
    ops
}

pub fn named(op: impl std::fmt::Debug, width: Width) -> String {
    let bits = if width == Width::W64 { 64 } else { 32 };
    format!("{}{bits}", format!("{op:?}").to_lowercase())
}

fn arithmetic<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    // Sum, difference and product take each view by itself: the tnum, and the ranges of either width.
    for (op, f64, f32) in [
        (AluOp::Add, Ranges::add as RangeOp<U64<B>>, Ranges::add as RangeOp<B::U32>),
        (AluOp::Sub, Ranges::sub, Ranges::sub),
        (AluOp::Mul, multiplied, multiplied),
    ] {
        let hard = (op == AluOp::Mul).then_some("order of products: multiplication of words");
        ops.push(Operation { hard, ..ranges::<B, _>(op, Width::W64, f64) });
        ops.push(Operation { hard, ..ranges::<B, _>(op, Width::W32, f32) });
    }
    for op in [AluOp::And, AluOp::Or, AluOp::Xor] {
        for width in [Width::W64, Width::W32] {
            ops.push(act::<B>(named(op, width), Act::Alu(op, width)));
        }
    }
    ops.push(act::<B>("neg64", Act::Neg));
    ops.push(act_of_each::<B>(
        "sync_linked_regs",
        [false, true].map(|cuts| Act::Follow { cuts }).into(),
    ));
    ops
}

type RangeOp<U> = fn(Ranges<U>, Ranges<U>, &Features) -> Ranges<U>;

/// As `alu_mul` chooses.
fn multiplied<U: Unsigned>(a: Ranges<U>, b: Ranges<U>, f: &Features) -> Ranges<U> {
    if f.mul_of_any_sign {
        a.mul(b)
    } else {
        a.mul_halves(b)
    }
}

/// An operation that takes the ranges of one width and nothing else.
fn ranges<B: Words, U>(op: AluOp, width: Width, f: RangeOp<U>) -> Operation
where
    U: Unsigned<Signed: Term> + Term,
{
    let ask = move |weak, features: &Features| {
        let any = |n: &str| Ranges::<U> {
            smin: var(n, ".smin"),
            smax: var(n, ".smax"),
            umin: var(n, ".umin"),
            umax: var(n, ".umax"),
        };
        let inside = |v: U, r: &Ranges<U>| {
            all(&[
                r.umin.up_to(v),
                v.up_to(r.umax),
                r.smin.up_to(v.signed()),
                v.signed().up_to(r.smax),
            ])
        };
        let (a, b) = (any("x"), any("y"));
        let (x, y): (U, U) = (var("x", ""), var("y", ""));
        assume(all(&[inside(x, &a), inside(y, &b)]));
        let mut result = f(a, b, features);
        if weak && result.umin < result.umax {
            result.umax = result.umax.minus(U::lit(1));
        }
        inside(semantics::alu_word(op, x, y), &result)
    };
    let name = format!("{}, ranges", named(op, width));
    let each = rules().into_iter().map(|f| question(move |weak| ask(weak, &f)));
    row::<B>(name, acts(Act::Alu(op, width)), each.collect())
}

fn shifts<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    for op in [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh] {
        for width in [Width::W64, Width::W32] {
            let counts = (0..word_bits::<B>(width)).map(|n| Act::Shift(op, width, n));
            ops.push(act_of_each::<B>(named(op, width), counts.collect()));
        }
    }
    ops
}

/// What has bytes has them at full width; narrow registers have one.
pub fn fits<B: Words>(bytes: u32) -> bool {
    B::WIDTH == 64 || bytes * 8 < B::WIDTH
}

fn sizes<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    for n in [16u8, 32, 64] {
        for (kind, name) in [(SwapKind::Bswap, "bswap"), (SwapKind::ToLe, "le")] {
            ops.push(sized::<B>(format!("{name}{n}"), u32::from(n / 8), Act::Swap(kind, n)));
        }
    }
    for from in [SxFrom::B, SxFrom::H, SxFrom::W] {
        let bytes = bytes_of(from);
        ops.push(sized::<B>(format!("coerce_reg_to_size {bytes}"), bytes, Act::Cut(bytes)));
        let name = format!("coerce_reg_to_size_sx {bytes}");
        ops.push(sized::<B>(name, bytes, Act::Sx(Width::W64, from)));
        if from != SxFrom::W {
            let name = format!("coerce_subreg_to_size_sx {bytes}");
            ops.push(sized::<B>(name, bytes, Act::Sx(Width::W32, from)));
        }
    }
    ops.push(act::<B>("zext_32_to_64", Act::Zext));
    ops
}

/// No questions where the machine is too narrow for the size.
fn sized<B: Words>(name: String, bytes: u32, what: Act) -> Operation {
    let op = act::<B>(name, what);
    if fits::<B>(bytes) {
        op
    } else {
        Operation { questions: Vec::new(), ..op }
    }
}

fn comparisons<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    for cond in Cond::ALL {
        for width in [Width::W64, Width::W32] {
            let name = format!("j{}", named(cond, width));
            for taken in [true, false] {
                let side = if taken { "taken" } else { "not taken" };
                let ask = |same| question(move |weak| refined::<B>(cond, width, taken, same, weak));
                ops.push(row::<B>(
                    format!("{name}, {side}"),
                    Concrete::Jump { cond, width, taken, bits: false },
                    [false, true].map(ask).into(),
                ));
            }
            let ask = |same| question(move |weak| decided::<B>(cond, width, same, weak));
            ops.push(row::<B>(
                format!("{name}, decided"),
                Concrete::Decided { cond, width },
                [false, true].map(ask).into(),
            ));
        }
    }
    ops
}

/// A register with a value in it.
type Held<B> = (RegState<B>, U64<B>);

/// Two operands, or one register against itself.
fn operands<B: Words>(same: bool) -> (Held<B>, Held<B>) {
    let a = reg("x");
    (a, if same { a } else { reg("y") })
}

/// Where the comparison comes out that way, both operands stay in what is learnt from it.
fn refined<B: Words>(cond: Cond, width: Width, taken: bool, same: bool, weak: bool) -> Bool {
    let ((a, x), (b, y)) = operands::<B>(same);
    if semantics::cond_of::<B>(cond, width, x, y) != taken {
        return holds(true);
    }
    let mut pair = Pair::of(a, b, same);
    pair.learn(if taken { Fact::Holds(cond) } else { Fact::not(cond) }, width);
    weaken_reg(pair.first_mut(), weak);
    all(&[in_reg(x, pair.first()), in_reg(y, pair.second())])
}

/// A direction that is called certain is the one taken.
fn decided<B: Words>(cond: Cond, width: Width, same: bool, weak: bool) -> Bool {
    let ((a, x), (b, y)) = operands::<B>(same);
    let decision = is_scalar_branch_taken(&a, &b, cond, width);
    let decision = if weak { decision.or(Some(true)) } else { decision };
    holds(match decision {
        None => true,
        Some(side) => semantics::cond_of::<B>(cond, width, x, y) == side,
    })
}

fn coverage<B: Words>() -> Vec<Operation> {
    let scalars = question(|weak| {
        let ((cur, x), old) = (reg::<B>("x"), any_reg("old"));
        if !(old.range_includes(&cur) || weak) || !old.var_off.includes(cur.var_off) {
            return holds(true);
        }
        in_reg(x, &old)
    });
    vec![row::<B>("regsafe: values", Concrete::Covers, vec![scalars])]
}
