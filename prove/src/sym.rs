//! Words that are a solver's bit vectors, and the paths a function over them can take.
//!
//! A comparison answers `bool` as it does for numbers: the side taken is part of the path, and the function is
//! run again for the other side.  Minimum and maximum do not split the path.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};
use std::time::Instant;

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word};
use z3::ast::{Ast, Bool, BV};
use z3::{DeclKind, Params, SatResult, Solver};

/// A word of `N` bits, signed or not: a number, or a term of this thread's run.
#[derive(Clone, Copy, Debug)]
pub struct Sym<const N: u32, const SIGNED: bool>(Node);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Node {
    /// Zero above the width.
    Lit(u64),
    Term(usize),
}

/// Full width: 64-bit registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;
/// 8-bit registers with 4-bit halves, for what is too hard at full width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrow;

impl Bits for Full {
    type U64 = Sym<64, false>;
    type U32 = Sym<32, false>;
}

impl Bits for Narrow {
    type U64 = Sym<8, false>;
    type U32 = Sym<4, false>;
}

/// A word that a solver knows.
pub trait Term: Word {
    /// A fresh variable; the same name in every run.
    fn variable(name: &str) -> Self;
    /// `self == o`, as a term.
    fn is(self, o: Self) -> Bool;
    /// `self <= o`, as a term.
    fn up_to(self, o: Self) -> Bool;
}

impl<const N: u32, const SIGNED: bool> Term for Sym<N, SIGNED> {
    fn variable(name: &str) -> Self {
        let v = BV::new_const(name, N);
        RUN.with_borrow_mut(|run| run.variables.push((name.to_string(), v.clone())));
        Sym::of(v)
    }
    fn is(self, o: Self) -> Bool {
        self.bv().eq(o.bv())
    }
    fn up_to(self, o: Self) -> Bool {
        o.less(self).not()
    }
}

/// A machine whose words a solver knows.
pub trait Words: Bits<U64: Whole<Signed: Term> + Term, U32: Unsigned<Signed: Term> + Term> {
    /// Bits of a register.
    const WIDTH: u32 = <Self::U64 as Word>::BITS;
}

impl Words for Full {}
impl Words for Narrow {}

/// One run along one path.
#[derive(Default)]
struct Run {
    terms: Vec<BV>,
    variables: Vec<(String, BV)>,
    assumed: Vec<Bool>,
    /// Sides to take, and whether the other one is still to be seen.
    sides: Vec<(bool, bool)>,
    taken: usize,
    known: HashMap<Bool, bool>,
    /// Functions whose ways are taken together, innermost last.
    ways: Vec<Ways>,
    /// Says which sides are open; has been told so many of what is assumed.
    open: Option<Solver>,
    told: usize,
}

/// The ways through a function that become one term: every side is looked at, none is asked of the solver.
#[derive(Default)]
struct Ways {
    sides: Vec<(bool, bool)>,
    path: Vec<Bool>,
    known: HashMap<Bool, bool>,
}

impl Ways {
    fn decide(&mut self, condition: Bool, contrary: Bool) -> bool {
        let taken = self.path.len();
        if taken == self.sides.len() {
            self.sides.push((true, true));
        }
        let side = self.sides[taken].0;
        self.path.push(if side { condition.clone() } else { contrary.clone() });
        self.known.insert(contrary, !side);
        self.known.insert(condition, side);
        side
    }

    /// What held on the way just taken, and whether there is another one.
    fn next(&mut self) -> (Bool, bool) {
        self.known.clear();
        let path = Bool::and(&std::mem::take(&mut self.path));
        while self.sides.last().is_some_and(|(_, more)| !more) {
            self.sides.pop();
        }
        let more = self.sides.last_mut().map(|last| *last = (!last.0, false)).is_some();
        (path, more)
    }
}

thread_local! {
    static RUN: RefCell<Run> = RefCell::default();
}

thread_local! {
    /// When this thread's solver gives up.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Questions of this thread end at that time.
pub fn give_up_at(deadline: Instant) {
    DEADLINE.set(Some(deadline));
}

/// What is left, in milliseconds; None if there is nothing.
fn patience() -> Option<u32> {
    let Some(deadline) = DEADLINE.get() else { return Some(u32::MAX) };
    let left = deadline.checked_duration_since(Instant::now())?.as_millis();
    u32::try_from(left).ok().filter(|ms| *ms > 0)
}

fn solver(patience: u32) -> Solver {
    let solver = Solver::new_for_logic("QF_BV").unwrap_or_default();
    let mut params = Params::new();
    params.set_u32("timeout", patience);
    solver.set_params(&params);
    solver
}

/// Only runs where this holds are of interest.
pub fn assume(fact: Bool) {
    RUN.with_borrow_mut(|run| run.assumed.push(fact));
}

/// The side of the path; whether a contradiction closes one is asked of the solver.
fn decide(condition: Bool) -> bool {
    let condition = condition.simplify();
    let contrary = condition.clone().not().simplify();
    if let Some(known) = condition.as_bool() {
        return known;
    }
    RUN.with_borrow_mut(|run| {
        let known = run.known.get(&condition);
        if let Some(side) = known.or(run.ways.iter().find_map(|w| w.known.get(&condition))) {
            return *side;
        }
        if let Some(ways) = run.ways.last_mut() {
            return ways.decide(condition, contrary);
        }
        let side = match run.sides.get(run.taken) {
            Some((side, _)) => *side,
            None => {
                let known = run.assumed.iter().skip(run.told);
                let s = run.open.get_or_insert_with(|| solver(2_000));
                known.for_each(|a| s.assert(a));
                run.told = run.assumed.len();
                let is_open = |side: &Bool| {
                    patience().is_some()
                        && s.check_assumptions(std::slice::from_ref(side)) != SatResult::Unsat
                };
                let (yes, no) = (is_open(&condition), is_open(&contrary));
                run.sides.push((yes, yes && no));
                yes
            }
        };
        run.taken += 1;
        run.assumed.push(if side { condition.clone() } else { contrary.clone() });
        run.known.insert(contrary, !side);
        run.known.insert(condition, side);
        side
    })
}

/// Values of the variables where the goal does not hold, by name.
pub type Model = Vec<(String, u64)>;

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Proved,
    /// Not so, for these values.
    Refuted(Model),
    /// The solver gave up.
    Unknown,
}

/// All at once, or one after the other where that is too much.
fn ask_all(run: &Run, goal: Bool) -> Outcome {
    let parts = conjuncts(goal.clone());
    if parts.len() > 1 {
        let answer = ask(run, goal, TOGETHER);
        if answer != Outcome::Unknown {
            return answer;
        }
    }
    let mut answers = parts.into_iter().map(|part| ask(run, part, u32::MAX));
    answers.find(|a| *a != Outcome::Proved).unwrap_or(Outcome::Proved)
}

/// How long all parts of a goal may take together, milliseconds.
const TOGETHER: u32 = 3_000;

/// Whether this holds wherever the path leads.
fn ask(run: &Run, part: Bool, most: u32) -> Outcome {
    let Some(patience) = patience().map(|left| left.min(most)) else { return Outcome::Unknown };
    let s = solver(patience);
    run.assumed.iter().for_each(|a| s.assert(a));
    s.assert(part.not());
    match s.check() {
        SatResult::Unsat => Outcome::Proved,
        SatResult::Unknown => Outcome::Unknown,
        SatResult::Sat => {
            let Some(model) = s.get_model() else { return Outcome::Unknown };
            let value = |v: &BV| model.eval(v, true).and_then(|v| v.as_u64()).unwrap_or(0);
            let values = run.variables.iter().map(|(n, v)| (n.clone(), value(v)));
            Outcome::Refuted(values.collect())
        }
    }
}

/// The terms that all must hold; each by itself is easier than all together.
fn conjuncts(goal: Bool) -> Vec<Bool> {
    if goal.decl().kind() != DeclKind::And {
        return vec![goal];
    }
    goal.children().iter().filter_map(|t| t.as_bool()).flat_map(conjuncts).collect()
}

/// Whether the goal that `body` returns holds on every path; the number of paths too.
pub fn prove(body: &dyn Fn() -> Bool) -> (Outcome, u32) {
    let mut sides = Vec::new();
    let mut paths = 0;
    loop {
        RUN.set(Run { sides, ..Run::default() });
        let goal = body();
        let run = RUN.take();
        paths += 1;
        if patience().is_none() {
            return (Outcome::Unknown, paths);
        }
        match ask_all(&run, goal) {
            Outcome::Proved => {}
            other => return (other, paths),
        }
        sides = run.sides;
        while sides.last().is_some_and(|(_, more)| !more) {
            sides.pop();
        }
        match sides.last_mut() {
            Some(last) => *last = (!last.0, false),
            None => return (Outcome::Proved, paths),
        }
    }
}

impl<const N: u32, const SIGNED: bool> Sym<N, SIGNED> {
    const KEEP: u64 = u64::MAX >> (64 - N);

    fn of(v: BV) -> Self {
        Sym(RUN.with_borrow_mut(|run| {
            run.terms.push(v);
            Node::Term(run.terms.len() - 1)
        }))
    }

    pub fn bv(self) -> BV {
        match self.0 {
            Node::Lit(v) => BV::from_u64(v, N),
            Node::Term(i) => RUN.with_borrow(|run| run.terms[i].clone()),
        }
    }

    const fn literal(v: u64) -> Self {
        Sym(Node::Lit(v & Self::KEEP))
    }

    fn reread<const OTHER: bool>(self) -> Sym<N, OTHER> {
        Sym(self.0)
    }

    fn less(self, o: Self) -> Bool {
        if SIGNED {
            self.bv().bvslt(o.bv())
        } else {
            self.bv().bvult(o.bv())
        }
    }

    fn fits(self, o: Self, low: Bool, high: Bool) -> bool {
        let _ = (self, o);
        decide(Bool::and(&[low, high]))
    }

    fn divided(self, o: Self, how: impl Fn(BV, BV) -> BV) -> Option<Self> {
        if o == Self::ZERO {
            return None;
        }
        Some(Sym::of(how(self.bv(), o.bv())))
    }

    fn count(self) -> BV {
        self.bv().bvand(BV::from_u64(N as u64 - 1, N))
    }
}

impl<const N: u32, const SIGNED: bool> PartialEq for Sym<N, SIGNED> {
    fn eq(&self, o: &Self) -> bool {
        decide(self.is(*o))
    }
}

impl<const N: u32, const SIGNED: bool> Eq for Sym<N, SIGNED> {}

impl<const N: u32, const SIGNED: bool> PartialOrd for Sym<N, SIGNED> {
    fn partial_cmp(&self, o: &Self) -> Option<Ordering> {
        Some(if self < o {
            Ordering::Less
        } else if self == o {
            Ordering::Equal
        } else {
            Ordering::Greater
        })
    }
    fn lt(&self, o: &Self) -> bool {
        decide(self.less(*o))
    }
    fn le(&self, o: &Self) -> bool {
        decide(self.up_to(*o))
    }
    fn gt(&self, o: &Self) -> bool {
        decide(o.less(*self))
    }
    fn ge(&self, o: &Self) -> bool {
        decide(o.up_to(*self))
    }
}

macro_rules! binary {
    ($($trait:ident $method:ident $z3:ident;)*) => {$(
        impl<const N: u32, const SIGNED: bool> $trait for Sym<N, SIGNED> {
            type Output = Self;
            fn $method(self, o: Self) -> Self {
                Sym::of(self.bv().$z3(o.bv()))
            }
        }
    )*};
}

binary! {
    BitAnd bitand bvand;
    BitOr bitor bvor;
    BitXor bitxor bvxor;
}

impl<const N: u32, const SIGNED: bool> Not for Sym<N, SIGNED> {
    type Output = Self;
    fn not(self) -> Self {
        match self.0 {
            Node::Lit(v) => Self::literal(!v),
            Node::Term(_) => Sym::of(self.bv().bvnot()),
        }
    }
}

impl<const N: u32, const SIGNED: bool> Shl<u32> for Sym<N, SIGNED> {
    type Output = Self;
    fn shl(self, n: u32) -> Self {
        assert!(n < N, "a shift by {n} of {N} bits");
        Sym::of(self.bv().bvshl(BV::from_u64(n as u64, N)))
    }
}

impl<const N: u32, const SIGNED: bool> Shr<u32> for Sym<N, SIGNED> {
    type Output = Self;
    fn shr(self, n: u32) -> Self {
        assert!(n < N, "a shift by {n} of {N} bits");
        let n = BV::from_u64(n as u64, N);
        Sym::of(if SIGNED { self.bv().bvashr(n) } else { self.bv().bvlshr(n) })
    }
}

impl<const N: u32, const SIGNED: bool> Word for Sym<N, SIGNED> {
    const BITS: u32 = N;
    const ZERO: Self = Self::literal(0);
    const MIN: Self = Self::literal(if SIGNED { 1 << (N - 1) } else { 0 });
    const MAX: Self = Self::literal(if SIGNED { Self::KEEP >> 1 } else { Self::KEEP });

    fn lit(v: u64) -> Self {
        Self::literal(v)
    }
    fn plus(self, o: Self) -> Self {
        Sym::of(self.bv().bvadd(o.bv()))
    }
    fn minus(self, o: Self) -> Self {
        Sym::of(self.bv().bvsub(o.bv()))
    }
    fn times(self, o: Self) -> Self {
        Sym::of(self.bv().bvmul(o.bv()))
    }
    fn plus_checked(self, o: Self) -> Option<Self> {
        let (a, b) = (self.bv(), o.bv());
        let low = if SIGNED { a.bvadd_no_underflow(&b) } else { Bool::from_bool(true) };
        self.fits(o, low, a.bvadd_no_overflow(&b, SIGNED)).then(|| self.plus(o))
    }
    fn minus_checked(self, o: Self) -> Option<Self> {
        let (a, b) = (self.bv(), o.bv());
        let high = if SIGNED { a.bvsub_no_overflow(&b) } else { Bool::from_bool(true) };
        self.fits(o, a.bvsub_no_underflow(&b, SIGNED), high).then(|| self.minus(o))
    }
    fn times_checked(self, o: Self) -> Option<Self> {
        let (a, b) = (self.bv(), o.bv());
        let low = if SIGNED { a.bvmul_no_underflow(&b) } else { Bool::from_bool(true) };
        self.fits(o, low, a.bvmul_no_overflow(&b, SIGNED)).then(|| self.times(o))
    }
    fn over(self, o: Self) -> Option<Self> {
        self.divided(o, |a, b| if SIGNED { a.bvsdiv(b) } else { a.bvudiv(b) })
    }
    fn modulo(self, o: Self) -> Option<Self> {
        self.divided(o, |a, b| if SIGNED { a.bvsrem(b) } else { a.bvurem(b) })
    }
    fn at_least(self, o: Self) -> Self {
        Sym::of(self.less(o).ite(&o.bv(), &self.bv()))
    }
    fn at_most(self, o: Self) -> Self {
        Sym::of(o.less(self).ite(&o.bv(), &self.bv()))
    }
    fn shifted_left(self, by: Self) -> Self {
        Sym::of(self.bv().bvshl(by.count()))
    }
    fn shifted_right(self, by: Self) -> Self {
        let n = by.count();
        Sym::of(if SIGNED { self.bv().bvashr(n) } else { self.bv().bvlshr(n) })
    }
    fn all_ways<const K: usize>(f: impl Fn() -> [Self; K]) -> [Self; K] {
        RUN.with_borrow_mut(|run| run.ways.push(Ways::default()));
        let mut found = Vec::new();
        loop {
            let out = f();
            let way = RUN.with_borrow_mut(|run| run.ways.last_mut().map(Ways::next));
            let (path, more) = way.unwrap_or((Bool::from_bool(true), false));
            found.push((path, out));
            if !more {
                break;
            }
        }
        RUN.with_borrow_mut(|run| run.ways.pop());
        let either = |path: &Bool, a: Self, b: Self| match a.0 == b.0 {
            true => a,
            false => Sym::of(path.ite(&a.bv(), &b.bv()).simplify()),
        };
        let last = found.pop().map_or([Self::ZERO; K], |(_, out)| out);
        found
            .into_iter()
            .rev()
            .fold(last, |rest, (path, out)| std::array::from_fn(|i| either(&path, out[i], rest[i])))
    }
    fn whether(f: impl Fn() -> bool) -> bool {
        let one = Self::literal(1);
        let [yes] = Self::all_ways(|| [if f() { one } else { Self::ZERO }]);
        yes == one
    }
}

impl<const N: u32> Unsigned for Sym<N, false> {
    type Signed = Sym<N, true>;

    fn signed(self) -> Sym<N, true> {
        self.reread()
    }
    fn filled_down(self) -> Self {
        let mut v = self;
        let mut n = 1;
        while n < N {
            v = v | (v >> n);
            n *= 2;
        }
        v
    }
    fn bytes_reversed(self) -> Self {
        let v = self.bv();
        let byte = |i: u32| v.extract(i * 8 + 7, i * 8);
        Sym::of((1..N / 8).fold(byte(0), |all, i| all.concat(byte(i))))
    }
}

impl<const N: u32> Signed for Sym<N, true> {
    type Unsigned = Sym<N, false>;

    fn unsigned(self) -> Sym<N, false> {
        self.reread()
    }
}

macro_rules! whole {
    ($n:literal, $half:literal) => {
        impl Whole for Sym<$n, false> {
            type Half = Sym<$half, false>;
            const LOW: Self = Self::literal((1 << $half) - 1);

            fn low(self) -> Sym<$half, false> {
                Sym::of(self.bv().extract($half - 1, 0))
            }
            fn high(self) -> Sym<$half, false> {
                Sym::of(self.bv().extract($n - 1, $half))
            }
            fn zext(half: Sym<$half, false>) -> Self {
                Sym::of(half.bv().zero_ext($half))
            }
            fn sext(half: Sym<$half, true>) -> Sym<$n, true> {
                Sym::of(half.bv().sign_ext($half))
            }
        }
    };
}

whole!(64, 32);
whole!(8, 4);
