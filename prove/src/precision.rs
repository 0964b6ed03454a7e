//! How much an operation forgets: its result beside the best one the verifier could write down, counted over 8-bit
//! registers with 4-bit halves by the shipped functions.
//!
//! The best one is the tightest tnum and the tightest eight bounds of all results; what both allow is counted value
//! by value.  Operands are drawn by chance from a fixed seed: sets of a few values, as tightly as a register says.

use bpfassay_harness::gen::rng::Rng;
use bpfassay_isa::bits::{Unsigned, Whole, Word};
use bpfassay_isa::{semantics, AluOp, Cond, Width};
use bpfassay_spec::{Config, Features, Kernel};
use bpfassay_verifier::domain::circular_compare::simulate;
use bpfassay_verifier::domain::compare::{is_scalar_branch_taken, Fact, Pair};
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::tnum::Tnum;
use rayon::prelude::*;

use crate::act::Act;
use crate::small::{Eight, Small};

type Reg = RegState<Eight>;
type Value = Small<8, false>;

/// Pairs of operands for each operation.
const PAIRS: u64 = 20_000;

/// One operation.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// Pairs of operands whose result is the best one, in a hundred.
    pub best: f64,
    /// Bits that the result has too many, on average: the binary logarithm of how many times more values it allows.
    pub lost: f64,
    /// The pair of operands that loses most, and how many values are allowed and would be.
    pub worst: String,
}

/// What is measured.
#[derive(Clone, Copy)]
enum Measured {
    Act(Act),
    Jump(Cond, Width, bool),
    Decision(Cond, Width),
}

fn value(v: u8) -> Value {
    Value::lit(v.into())
}

fn allowed(r: &Reg) -> impl Iterator<Item = u8> + '_ {
    (0..=u8::MAX).filter(|v| {
        let v = value(*v);
        let (s, low) = (v.signed(), v.low());
        r.var_off.contains(v)
            && (r.umin <= v && v <= r.umax)
            && (r.smin <= s && s <= r.smax)
            && (r.u32_min <= low && low <= r.u32_max)
            && (r.s32_min <= low.signed() && low.signed() <= r.s32_max)
    })
}

/// The tightest register with these values; None for none.
fn tightest(values: impl Iterator<Item = Value>) -> Option<Reg> {
    let mut best: Option<Reg> = None;
    for v in values {
        let mut one = Reg::constant_scalar(v);
        if let Some(r) = best {
            one.var_off = r.var_off.union(Tnum::constant(v));
            one.umin = one.umin.at_most(r.umin);
            one.umax = one.umax.at_least(r.umax);
            one.smin = one.smin.at_most(r.smin);
            one.smax = one.smax.at_least(r.smax);
            one.u32_min = one.u32_min.at_most(r.u32_min);
            one.u32_max = one.u32_max.at_least(r.u32_max);
            one.s32_min = one.s32_min.at_most(r.s32_min);
            one.s32_max = one.s32_max.at_least(r.s32_max);
        }
        best = Some(one);
    }
    best
}

/// Up to five values near each other, far apart, or alike in their low bits.
fn drawn(rng: &mut Rng) -> Reg {
    let first = rng.next_u64() as u8;
    let n = 1 + rng.next_u64() % 5;
    let spread = [1u8, 3, 15, 255, 0xf0, 0x55][(rng.next_u64() % 6) as usize];
    let others = (0..n).map(|_| {
        let v = rng.next_u64() as u8;
        value(first.wrapping_add(v & spread))
    });
    tightest(others).unwrap_or(Reg::constant_scalar(value(first)))
}

/// What the verifier says, and the best it could; None where no value is left.
fn results(what: Measured, a: &Reg, b: &Reg, f: &Features) -> Option<(Reg, Reg)> {
    let (xs, ys): (Vec<u8>, Vec<u8>) = (allowed(a).collect(), allowed(b).collect());
    let pairs = || xs.iter().flat_map(|x| ys.iter().map(|y| (value(*x), value(*y))));
    match what {
        Measured::Act(act) => {
            let best = tightest(pairs().map(|(x, y)| act.exact::<Eight>(x, y)))?;
            let mut ours = *a;
            act.apply(&mut ours, b, f);
            ours.exchange(f);
            Some((ours, best))
        }
        Measured::Jump(cond, width, taken) => {
            let holds =
                |(x, y): &(Value, Value)| semantics::cond_of::<Eight>(cond, width, *x, *y) == taken;
            let best = tightest(pairs().filter(holds).map(|(x, _)| x))?;
            let fact = if taken { Fact::Holds(cond) } else { Fact::not(cond) };
            let mut pair = Pair::of(*a, *b, false);
            match f.circular_ranges {
                true => pair.narrow_arcs(fact, width),
                false => pair.learn(fact, width),
            }
            let mut ours = *pair.first();
            ours.exchange(f);
            Some((ours, best))
        }
        // Two values: certain, or not.
        Measured::Decision(cond, width) => {
            let mut sides = pairs().map(|(x, y)| semantics::cond_of::<Eight>(cond, width, x, y));
            let first = sides.next()?;
            let is_certain = sides.all(|s| s == first);
            let by_bounds = is_scalar_branch_taken(a, b, cond, width);
            let ours = match f.branches_simulated {
                true => by_bounds.or_else(|| simulate(*a, *b, cond, width, f).decided),
                false => by_bounds,
            };
            let of = |certain: bool| tightest((0..=u8::from(!certain)).map(value));
            of(ours.is_some()).zip(of(is_certain))
        }
    }
}

/// All values, or how many of them there are between which.
fn words(r: &Reg) -> String {
    let all: Vec<u8> = allowed(r).collect();
    match (all.len(), all.first().zip(all.last())) {
        (n @ 7.., Some((first, last))) => format!("{n} values in {first}..={last}"),
        _ => format!("{all:?}"),
    }
}

fn measure(name: String, what: Measured, f: &Features) -> Row {
    let mut rng = Rng::new(8);
    let (mut all, mut best, mut lost, mut worst) = (0u64, 0u64, 0.0, (0.0, String::new()));
    for _ in 0..PAIRS {
        let a = drawn(&mut rng);
        let b = match what {
            Measured::Act(act) if act.takes_constant() => {
                Reg::constant_scalar(value(rng.next_u64() as u8))
            }
            _ => drawn(&mut rng),
        };
        let Some((ours, least)) = results(what, &a, &b, f) else { continue };
        let (n, m) = (allowed(&ours).count(), allowed(&least).count());
        all += 1;
        best += u64::from(n == m);
        let bits = (n as f64 / m as f64).log2();
        lost += bits;
        if bits > worst.0 {
            worst = (bits, format!("{} and {}: {n} values, {m} would do", words(&a), words(&b)));
        }
    }
    let all = all.max(1) as f64;
    Row { name, best: best as f64 * 100.0 / all, lost: lost / all, worst: worst.1 }
}

fn measured() -> Vec<(String, Measured)> {
    let mut all = Vec::new();
    let widths = [(Width::W64, "64"), (Width::W32, "32")];
    let binary = [AluOp::Add, AluOp::Sub, AluOp::Mul, AluOp::And, AluOp::Or, AluOp::Xor];
    for (width, bits) in widths {
        for op in binary {
            let name = format!("{op:?}{bits}").to_lowercase();
            all.push((name, Measured::Act(Act::Alu(op, width))));
        }
        for op in [AluOp::Lsh, AluOp::Rsh, AluOp::Arsh] {
            let name = format!("{op:?}{bits} by 2").to_lowercase();
            all.push((name, Measured::Act(Act::Shift(op, width, 2))));
        }
        for cond in Cond::ALL {
            let name = format!("j{cond:?}{bits}").to_lowercase();
            for (taken, side) in [(true, "taken"), (false, "not taken")] {
                all.push((format!("{name}, {side}"), Measured::Jump(cond, width, taken)));
            }
            all.push((format!("{name}, decided"), Measured::Decision(cond, width)));
        }
    }
    all.push(("neg64".to_string(), Measured::Act(Act::Neg)));
    all.push(("zext_32_to_64".to_string(), Measured::Act(Act::Zext)));
    all.push(("sync_linked_regs".to_string(), Measured::Act(Act::Follow { cuts: false })));
    all
}

/// The table of a release, what forgets most first; of operations whose names hold `filter`.
///
/// # Errors
/// A release that no table knows.
pub fn table(release: &str, filter: &str) -> Result<Vec<Row>, String> {
    let kernel = Kernel::of_release(release, "x86_64", Config::default());
    let f = kernel.ok_or_else(|| format!("no release {release}"))?.features;
    let all = measured().into_par_iter().filter(|(name, _)| name.contains(filter));
    let mut rows: Vec<Row> = all.map(|(name, what)| measure(name, what, &f)).collect();
    rows.sort_by(|a, b| b.lost.total_cmp(&a.lost).then(a.name.cmp(&b.name)));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_result_is_never_beaten() {
        let rows = table("6.18.44", "64").expect("a known release");
        assert!(rows.iter().all(|r| r.lost >= 0.0), "a result lacks values");
        assert!(rows.iter().any(|r| r.best < 100.0));
        // Sums of tnums and of ranges are the best there are, so a sum of ranges alone loses nothing.
        let mut f = Rng::new(1);
        let a = drawn(&mut f);
        assert_eq!(
            tightest(allowed(&a).map(value)).map(|r| allowed(&r).count()),
            Some(allowed(&a).count())
        );
    }
}
