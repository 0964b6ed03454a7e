//! The range domain of 7.2 and later: arcs of the number circle, and registers whose ranges are arcs.
//!
//! A register here is any tnum, any eight bounds and any two arcs that all hold one value: what the bounds and the
//! arcs say of each other is assumed nowhere but in the row that reads arcs off bounds.

use bpfassay_isa::bits::{Unsigned, Whole};
use bpfassay_isa::{semantics, AluOp, Cond, SwapKind, SxFrom, Width};
use bpfassay_spec::{Config, Features, Kernel};
use bpfassay_verifier::domain::arc::{
    arc_of_tnum32, arc_of_tnum64, cut_to_low_half, low_half, Arc,
};
use bpfassay_verifier::domain::circular_compare::compared_with_itself;
use bpfassay_verifier::domain::compare::{Fact, Pair};
use bpfassay_verifier::domain::reg::RegState;
use z3::ast::Bool;

use crate::act::{bytes_of, Act, Step};
use crate::operations::{
    acts, all, any_reg, constant, fits, holds, in_reg, named, question, row, tnum, var, word_bits,
    Concrete, Operation, Question,
};
use crate::sym::{assume, Term, Words};
use crate::weak::{weaken_arc, weaken_reg};

/// The release whose rules these are.
const RELEASE: &str = "7.3";

/// Its features.
fn features() -> Option<Features> {
    Kernel::of_release("7.3.4", "x86_64", Config::default()).map(|k| k.features)
}

/// The rows; none where the release is not known.
pub fn all_operations<B: Words>() -> Vec<Operation> {
    let Some(f) = features() else { return Vec::new() };
    let mut ops = on_arcs::<B>();
    ops.extend(on_registers::<B>(&f));
    ops.extend(comparisons::<B>());
    ops.push(coverage::<B>());
    let named = |op: Operation| Operation {
        name: format!("{RELEASE}: {}", op.name),
        release: RELEASE,
        ..op
    };
    ops.into_iter().map(named).collect()
}

/// `v` is a value of the arc.
fn in_arc<U: Unsigned + Term>(v: U, arc: Arc<U>) -> Bool {
    all(&[is_empty(arc).not(), v.minus(arc.base).up_to(arc.len)])
}

fn any_arc<U: Unsigned + Term>(name: &str) -> Arc<U> {
    Arc { base: var(name, ".base"), len: var(name, ".len") }
}

/// An arc and a value of it: written as a distance from its start, which a solver finds easier than a bound.
fn arc<U: Unsigned + Term>(name: &str) -> (Arc<U>, U) {
    let a = any_arc(name);
    (a, member(a, name))
}

fn member<U: Unsigned + Term>(a: Arc<U>, name: &str) -> U {
    let distance: U = var(name, "");
    assume(all(&[is_empty(a).not(), distance.up_to(a.len)]));
    a.base.plus(distance)
}

fn is_empty<U: Unsigned + Term>(arc: Arc<U>) -> Bool {
    all(&[arc.base.is(Arc::<U>::EMPTY.base), arc.len.is(Arc::<U>::EMPTY.len)])
}

/// `v` lies in every view and in both arcs.
fn in_arcs<B: Words>(v: B::U64, r: &RegState<B>) -> Bool {
    all(&[in_reg(v, r), in_arc(v, r.arc64()), in_arc(v.low(), r.arc32())])
}

fn any_with_arcs<B: Words>(name: &str) -> RegState<B> {
    let mut r = any_reg(name);
    r.hide_arc64(Some(any_arc(&format!("{name}.arc64"))));
    r.hide_arc32(Some(any_arc(&format!("{name}.arc32"))));
    r
}

/// Any scalar with a member.
fn reg<B: Words>(name: &str) -> (RegState<B>, B::U64) {
    let r = any_with_arcs(name);
    let v = member(r.arc64(), name);
    assume(in_arcs(v, &r));
    (r, v)
}

fn on_arcs<B: Words>() -> Vec<Operation> {
    let eq = Concrete::Jump { cond: Cond::Eq, width: Width::W64, taken: true, bits: false };
    let step = |s| acts(Act::Step(s));
    let add = acts(Act::Alu(AluOp::Add, Width::W64));
    let rows: Vec<(&str, Concrete, fn(bool) -> Bool)> = vec![
        ("cnum_from_urange, cnum_from_srange", step(Step::ArcsFromTnum), made_of_bounds::<B::U64>),
        ("cnum_contains", step(Step::Reread), contained::<B::U64>),
        ("cnum_umin and its kin", step(Step::Reread), bounded::<B::U64>),
        ("cnum_intersect", eq, common::<B::U64>),
        ("cnum_add", add, added::<B::U64>),
        ("cnum_negate", acts(Act::Neg), negated::<B::U64>),
        ("cnum_is_subset", Concrete::Covers, included::<B::U64>),
        ("cnum32_from_cnum64", step(Step::Arc32FromArc64), halved::<B>),
        ("cnum64_cnum32_intersect", step(Step::Arc64FromArc32), cut::<B>),
        ("cnum64_from_tnum, cnum32_from_tnum", step(Step::ArcsFromTnum), of_tnum::<B>),
    ];
    rows.into_iter().map(|(name, c, ask)| row::<B>(name, c, vec![question(ask)])).collect()
}

fn made_of_bounds<U: Unsigned<Signed: Term> + Term>(weak: bool) -> Bool {
    let (min, v, max): (U, U, U) = (var("min", ""), var("x", ""), var("max", ""));
    let (smin, smax) = (var::<U::Signed>("smin", ""), var::<U::Signed>("smax", ""));
    assume(all(&[min.up_to(v), v.up_to(max)]));
    assume(all(&[smin.up_to(v.signed()), v.signed().up_to(smax)]));
    let (u, s) = (Arc::unsigned(min, max), Arc::signed(smin, smax));
    all(&[in_arc(v, weaken_arc(u, weak)), in_arc(v, s)])
}

fn contained<U: Unsigned + Term>(weak: bool) -> Bool {
    let (a, v) = (any_arc::<U>("x"), var("x", ""));
    match a.contains(v) != weak {
        true => in_arc(v, a),
        false => in_arc(v, a).not(),
    }
}

fn bounded<U: Unsigned<Signed: Term> + Term>(weak: bool) -> Bool {
    let (a, v) = arc::<U>("x");
    let ((umin, umax), (smin, smax)) = (a.unsigned_bounds(), a.signed_bounds());
    let umax = if weak { umax.minus(U::lit(1)) } else { umax };
    let s = v.signed();
    all(&[umin.up_to(v), v.up_to(umax), smin.up_to(s), s.up_to(smax)])
}

fn common<U: Unsigned + Term>(weak: bool) -> Bool {
    let ((a, v), b) = (arc::<U>("x"), any_arc("y"));
    assume(in_arc(v, b));
    in_arc(v, weaken_arc(a.intersect(b), weak))
}

fn added<U: Unsigned + Term>(weak: bool) -> Bool {
    let ((a, x), (b, y)) = (arc::<U>("x"), arc("y"));
    in_arc(x.plus(y), weaken_arc(a.add(b), weak))
}

fn negated<U: Unsigned + Term>(weak: bool) -> Bool {
    let (a, x) = arc::<U>("x");
    in_arc(U::ZERO.minus(x), weaken_arc(a.neg(), weak))
}

fn included<U: Unsigned + Term>(weak: bool) -> Bool {
    let ((a, x), b) = (arc::<U>("x"), any_arc("y"));
    match b.includes(a) || weak {
        true => in_arc(x, b),
        false => holds(true),
    }
}

fn halved<B: Words>(weak: bool) -> Bool {
    let (a, x) = arc::<B::U64>("x");
    in_arc(x.low(), weaken_arc(low_half(a), weak))
}

fn cut<B: Words>(weak: bool) -> Bool {
    let ((a, x), b) = (arc::<B::U64>("x"), any_arc::<B::U32>("y"));
    assume(in_arc(x.low(), b));
    in_arc(x, weaken_arc(cut_to_low_half(a, b), weak))
}

fn of_tnum<B: Words>(weak: bool) -> Bool {
    let (t, x) = tnum::<B::U64>("x");
    all(&[in_arc(x, weaken_arc(arc_of_tnum64(t), weak)), in_arc(x.low(), arc_of_tnum32(t))])
}

/// Whether every result lies in the register afterwards.
fn acted<B: Words>(act: Act, f: &Features, weak: bool) -> Bool {
    let mut a = any_with_arcs::<B>("x");
    if act == Act::Step(Step::Reread) {
        a = any_reg("x");
    }
    if act == Act::KnownLow {
        // The low half alone changes, so ranges of the whole were forgotten before.
        a.mark_unbounded();
    }
    let x = member(a.arc64(), "x");
    assume(in_arcs(x, &a));
    let (b, y) = match act {
        Act::Alu(..) if !act.takes_constant() => reg::<B>("y"),
        _ => constant("y"),
    };
    act.apply(&mut a, &b, f);
    weaken_reg(&mut a, weak);
    in_arcs(act.exact::<B>(x, y), &a)
}

fn act_of_each<B: Words>(name: impl Into<String>, f: &Features, each: Vec<Act>) -> Operation {
    let first = each[0];
    let ask = |act| -> Question {
        let f = f.clone();
        question(move |weak| acted::<B>(act, &f, weak))
    };
    row::<B>(name, acts(first), each.into_iter().map(ask).collect())
}

fn on_registers<B: Words>(f: &Features) -> Vec<Operation> {
    let act = |name: String, act: Act| act_of_each::<B>(name, f, vec![act]);
    let mut ops: Vec<Operation> =
        Step::OF_ARCS.map(|(step, name)| act(name.to_string(), Act::Step(step))).into();
    ops.push(act("___mark_reg_known".to_string(), Act::Known));
    ops.push(act("__mark_reg32_known".to_string(), Act::KnownLow));
    let hard = |op| match op {
        AluOp::Mul => Some("order of products: multiplication of words"),
        AluOp::Div | AluOp::SDiv => Some("order of quotients: division of words"),
        AluOp::Mod | AluOp::SMod => Some("remainders: division of words"),
        _ => None,
    };
    for op in [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::And,
        AluOp::Or,
        AluOp::Xor,
        AluOp::Div,
        AluOp::SDiv,
        AluOp::Mod,
        AluOp::SMod,
    ] {
        for width in [Width::W64, Width::W32] {
            let row = act(named(op, width), Act::Alu(op, width));
            ops.push(Operation { hard: hard(op), ..row });
        }
    }
    ops.push(act("neg64".to_string(), Act::Neg));
    for op in [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh] {
        for width in [Width::W64, Width::W32] {
            let counts = (0..word_bits::<B>(width)).map(|n| Act::Shift(op, width, n));
            ops.push(act_of_each::<B>(named(op, width), f, counts.collect()));
        }
    }
    let links = [false, true].map(|cuts| Act::Follow { cuts });
    ops.push(act_of_each::<B>("sync_linked_regs", f, links.into()));
    ops.extend(sizes::<B>(f));
    ops.push(act("zext_32_to_64".to_string(), Act::Zext));
    ops
}

/// No questions where the machine is too narrow for the size.
fn sizes<B: Words>(f: &Features) -> Vec<Operation> {
    let sized = |name: String, bytes: u32, what: Act| {
        let op = act_of_each::<B>(name, f, vec![what]);
        match fits::<B>(bytes) {
            true => op,
            false => Operation { questions: Vec::new(), ..op },
        }
    };
    let mut ops = Vec::new();
    for n in [16u8, 32, 64] {
        for (kind, name) in [(SwapKind::Bswap, "bswap"), (SwapKind::ToLe, "le")] {
            ops.push(sized(format!("{name}{n}"), u32::from(n / 8), Act::Swap(kind, n)));
        }
    }
    for from in [SxFrom::B, SxFrom::H, SxFrom::W] {
        let bytes = bytes_of(from);
        ops.push(sized(format!("coerce_reg_to_size {bytes}"), bytes, Act::Cut(bytes)));
        let name = format!("coerce_reg_to_size_sx {bytes}");
        ops.push(sized(name, bytes, Act::Sx(Width::W64, from)));
        if from != SxFrom::W {
            let name = format!("coerce_subreg_to_size_sx {bytes}");
            ops.push(sized(name, bytes, Act::Sx(Width::W32, from)));
        }
    }
    ops
}

fn comparisons<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    for cond in Cond::ALL {
        for width in [Width::W64, Width::W32] {
            let name = format!("j{}", named(cond, width));
            for taken in [true, false] {
                let side = if taken { "taken" } else { "not taken" };
                let ask = question(move |weak| refined::<B>(cond, width, taken, weak));
                let concrete = Concrete::Jump { cond, width, taken, bits: false };
                ops.push(row::<B>(format!("{name}, {side}"), concrete, vec![ask]));
            }
            let ask = question(move |weak| decided_alone::<B>(cond, width, weak));
            let concrete = Concrete::DecidedAlone { cond, width };
            ops.push(row::<B>(format!("{name} with itself"), concrete, vec![ask]));
        }
    }
    ops
}

/// Where the comparison comes out that way, both operands stay in what is learnt from it; so a side that leaves one
/// of them nothing is not taken, which is how 7.2 and later decide.
fn refined<B: Words>(cond: Cond, width: Width, taken: bool, weak: bool) -> Bool {
    let ((a, x), (b, y)) = (reg::<B>("x"), reg::<B>("y"));
    if semantics::cond_of::<B>(cond, width, x, y) != taken {
        return holds(true);
    }
    let mut pair = Pair::of(a, b, false);
    pair.narrow_arcs(if taken { Fact::Holds(cond) } else { Fact::not(cond) }, width);
    weaken_reg(pair.first_mut(), weak);
    all(&[in_arcs(x, pair.first()), in_arcs(y, pair.second())])
}

/// The other way, or one where there is none.
pub fn weaken_side(side: Option<bool>, weak: bool) -> Option<bool> {
    match (side, weak) {
        (Some(side), true) => Some(!side),
        (None, true) => Some(true),
        (side, false) => side,
    }
}

fn decided_alone<B: Words>(cond: Cond, width: Width, weak: bool) -> Bool {
    let (a, x) = reg::<B>("x");
    holds(match weaken_side(compared_with_itself(&a, cond, width), weak) {
        None => true,
        Some(side) => semantics::cond_of::<B>(cond, width, x, x) == side,
    })
}

fn coverage<B: Words>() -> Operation {
    let scalars = question(|weak| {
        let ((cur, x), old) = (reg::<B>("x"), any_with_arcs::<B>("old"));
        if !(old.arcs_include(&cur) || weak) || !old.var_off.includes(cur.var_off) {
            return holds(true);
        }
        all(&[in_arc(x, old.arc64()), in_arc(x.low(), old.arc32())])
    });
    row::<B>("regsafe: values", Concrete::Covers, vec![scalars])
}
