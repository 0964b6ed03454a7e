//! Soundness by brute force: whatever values go in, the results of the concrete semantics lie in the
//! abstract result.  Where the kernel's precision matters, cases are taken from its own log.

use bpfassay_isa::{semantics, AluOp, Cond, SwapKind, Width};
use bpfassay_spec::{Features, RegBase, RegType};

use super::compare::{is_scalar_branch_taken, Fact, Pair};
use super::reg::RegState;
use super::tnum::Tnum;

fn builds() -> [Features; 2] {
    ["6.18.44", "6.18.15"].map(|k| bpfassay_builds::kernel(k).expect("a known build").features)
}

/// Every tnum whose bits from `bits` up are zero.
fn small_tnums(bits: u32) -> Vec<Tnum> {
    let limit = 1u64 << bits;
    let all = (0..limit).flat_map(|mask| (0..limit).map(move |value| Tnum { value, mask }));
    all.filter(|t| t.value & t.mask == 0).collect()
}

fn members(t: Tnum) -> impl Iterator<Item = u64> {
    (0..=t.umax()).filter(move |v| t.contains(*v))
}

/// The best tnum for some values.
fn join(values: impl IntoIterator<Item = u64>) -> Tnum {
    values.into_iter().map(Tnum::constant).reduce(Tnum::union).expect("not empty")
}

#[test]
fn binary_tnum_operations_hold_every_result() {
    type Op = (AluOp, fn(Tnum, Tnum) -> Tnum, bool);
    // The last column: no tnum could be smaller.
    const OPS: [Op; 6] = [
        (AluOp::Add, Tnum::add, true),
        (AluOp::Sub, Tnum::sub, true),
        (AluOp::And, Tnum::and, true),
        (AluOp::Or, Tnum::or, true),
        (AluOp::Xor, Tnum::xor, true),
        (AluOp::Mul, Tnum::mul, false),
    ];
    for a in small_tnums(4) {
        for b in small_tnums(4) {
            for (op, abstract_op, is_best) in OPS {
                let results = members(a)
                    .flat_map(|x| members(b).map(move |y| semantics::alu(op, Width::W64, x, y)));
                let best = join(results);
                let got = abstract_op(a, b);
                assert!(got.includes(best), "{op:?} {a:?} {b:?}: {got:?} misses some of {best:?}");
                assert!(!is_best || got == best, "{op:?} {a:?} {b:?}: {got:?}, best is {best:?}");
            }
        }
    }
}

#[test]
fn tnum_range_and_step_follow_the_members() {
    for min in 0..32u64 {
        for max in min..32 {
            assert_eq!(Tnum::range(min, max), {
                let t = join(min..=max);
                // Leading bits only: below the first unknown bit all are unknown.
                let low = if t.mask == 0 { 0 } else { u64::MAX >> t.mask.leading_zeros() };
                Tnum { value: t.value & !low, mask: low }
            });
        }
    }
    for t in small_tnums(5) {
        let all: Vec<u64> = members(t).collect();
        for z in 0..32 {
            let next = all.iter().copied().find(|v| *v > z).unwrap_or(t.umax());
            assert_eq!(t.step(z), next, "{t:?} after {z}");
        }
    }
    let any = Tnum::UNKNOWN;
    assert_eq!((any.step(u64::MAX - 1), any.step(u64::MAX)), (u64::MAX, u64::MAX));
}

#[test]
fn tnum_shifts_swaps_and_casts_move_each_member() {
    for small in small_tnums(4) {
        for place in [0u32, 6, 14, 28, 30, 44, 60] {
            let t = Tnum { value: small.value << place, mask: small.mask << place };
            let values: Vec<u64> = members(small).map(|v| v << place).collect();
            for n in [1u8, 3, 8, 31] {
                let shifted =
                    |op, w| join(values.iter().map(|v| semantics::alu(op, w, *v, n as u64)));
                assert_eq!(t.lshift(n), shifted(AluOp::Lsh, Width::W64));
                assert_eq!(t.rshift(n), shifted(AluOp::Rsh, Width::W64));
                assert_eq!(t.arshift64(n), shifted(AluOp::Arsh, Width::W64));
                assert_eq!(t.arshift32(n), shifted(AluOp::Arsh, Width::W32));
            }
            for bits in [16, 32, 64] {
                let swapped =
                    join(values.iter().map(|v| semantics::swap(SwapKind::Bswap, bits, *v)));
                assert_eq!(t.bswap(bits as u32), swapped);
            }
            assert_eq!(t.subreg(), join(values.iter().map(|v| v & 0xffff_ffff)));
            assert_eq!(t.cast(2), join(values.iter().map(|v| v & 0xffff)));
        }
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn value(&mut self) -> u64 {
        let v = self.next();
        match self.next() % 8 {
            0 => v,
            1 => v & 0xff,
            2 => (v as i8) as i64 as u64,
            3 => (v as i32) as i64 as u64,
            4 => v as u32 as u64,
            5 => (1u64 << (v & 63)).wrapping_add(self.next() % 3).wrapping_sub(1),
            6 => v & 0xffff_ffff_0000_0003,
            _ => i64::MIN as u64 ^ (v & 0x1f),
        }
    }

    /// A few values that are often close to each other, so that ranges stay narrow.
    fn set(&mut self) -> Vec<u64> {
        let base = self.value();
        let n = 1 + self.next() % 5;
        (0..n)
            .map(|_| match self.next() % 4 {
                0 => self.value(),
                1 => base ^ (1 << (self.next() & 63)),
                _ => base.wrapping_add(self.next() % 16),
            })
            .collect()
    }
}

/// The tightest record for some values.
fn abstraction(values: &[u64]) -> RegState {
    let mut r = RegState::ZEROED;
    r.ty = RegType::of(RegBase::Scalar);
    r.var_off = join(values.iter().copied());
    let range = |f: &dyn Fn(u64) -> i128| {
        let v: Vec<i128> = values.iter().map(|v| f(*v)).collect();
        (*v.iter().min().expect("values"), *v.iter().max().expect("values"))
    };
    let (a, b) = range(&|v| v as i128);
    r.set_u64(a as u64, b as u64);
    let (a, b) = range(&|v| v as i64 as i128);
    r.set_s64(a as i64, b as i64);
    let (a, b) = range(&|v| v as u32 as i128);
    r.set_u32(a as u32, b as u32);
    let (a, b) = range(&|v| v as i32 as i128);
    r.set_s32(a as i32, b as i32);
    r
}

/// Some of what is known is forgotten, so that deduction has something to do.
fn blur(r: &mut RegState, rng: &mut Rng) {
    match rng.next() % 6 {
        0 => r.var_off = Tnum::UNKNOWN,
        1 => r.mark_unbounded32(),
        2 => r.mark_unbounded64(),
        3 => r.set_s64(i64::MIN, i64::MAX),
        4 => r.set_u32(0, u32::MAX),
        _ => {}
    }
}

fn assert_holds(r: &RegState, values: impl IntoIterator<Item = u64>, what: &dyn std::fmt::Debug) {
    for v in values {
        assert!(r.contains(v), "{what:?}: {v:#x} is not in {r:?}");
    }
}

#[test]
fn deduction_and_truncation_lose_no_value() {
    let mut rng = Rng(1);
    for f in &builds() {
        for _ in 0..60_000 {
            let values = rng.set();
            let mut r = abstraction(&values);
            blur(&mut r, &mut rng);
            let before = r;
            r.sync(f);
            assert_holds(&r, values.iter().copied(), &before);
            for bytes in [1u32, 2, 4] {
                let keep = u64::MAX >> (64 - bytes * 8);
                let mut cut = r;
                cut.coerce_to_size(bytes, f);
                assert_holds(&cut, values.iter().map(|v| v & keep), &("zext", bytes, &r));
                let sx = |v: u64| ((v << (64 - bytes * 8)) as i64 >> (64 - bytes * 8)) as u64;
                let mut signed = r;
                signed.coerce_to_size_sx(bytes);
                assert_holds(&signed, values.iter().map(|v| sx(*v)), &("sx", bytes, &r));
                if bytes < 4 {
                    let mut low = r;
                    low.coerce_subreg_to_size_sx(bytes);
                    low.zext_32_to_64();
                    low.sync(f);
                    assert_holds(
                        &low,
                        values.iter().map(|v| sx(*v) as u32 as u64),
                        &("sx32", bytes, &r),
                    );
                }
            }
        }
    }
}

fn apply(op: AluOp, width: Width, a: &RegState, b: &RegState, f: &Features) -> RegState {
    let mut r = *a;
    let n = b.u32_min;
    match (op, width) {
        (AluOp::Add, _) => r.alu_add(b, f),
        (AluOp::Sub, _) => r.alu_sub(b, f),
        (AluOp::Mul, _) => r.alu_mul(b, f),
        (AluOp::And, _) => r.alu_and(b, f),
        (AluOp::Or, _) => r.alu_or(b, f),
        (AluOp::Xor, _) => r.alu_xor(b, f),
        (AluOp::Lsh, Width::W64) => r.alu_lsh64(n, f),
        (AluOp::Lsh, Width::W32) => r.alu_lsh32(n),
        (AluOp::Rsh, Width::W64) => r.alu_rsh64(n, f),
        (AluOp::Rsh, Width::W32) => r.alu_rsh32(n),
        (AluOp::Arsh, Width::W64) => r.alu_arsh64(n, f),
        (AluOp::Arsh, Width::W32) => r.alu_arsh32(n),
        _ => unreachable!("not an operation with bounds"),
    }
    if width == Width::W32 {
        r.zext_32_to_64();
    }
    r.sync(f);
    r
}

#[test]
fn arithmetic_holds_every_result() {
    const OPS: [AluOp; 9] = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::And,
        AluOp::Or,
        AluOp::Xor,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Arsh,
    ];
    let mut rng = Rng(2);
    for f in &builds() {
        for _ in 0..15_000 {
            let (xs, mut ys) = (rng.set(), rng.set());
            let mut a = abstraction(&xs);
            blur(&mut a, &mut rng);
            a.sync(f);
            for op in OPS {
                for width in [Width::W32, Width::W64] {
                    // Shifts are followed for a known count only.
                    if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) {
                        ys = vec![rng.next() % if width == Width::W32 { 32 } else { 64 }];
                    }
                    let mut b = abstraction(&ys);
                    b.sync(f);
                    let r = apply(op, width, &a, &b, f);
                    for x in &xs {
                        let results = ys.iter().map(|y| semantics::alu(op, width, *x, *y));
                        assert_holds(&r, results, &(op, width, &a, &b));
                    }
                }
            }
            let mut negated = a;
            negated.alu_neg(f);
            negated.sync(f);
            assert_holds(&negated, xs.iter().map(|x| x.wrapping_neg()), &("neg", &a));
            for bits in [16u8, 32, 64] {
                for (swaps, kind) in [(true, SwapKind::Bswap), (false, SwapKind::ToLe)] {
                    let mut swapped = a;
                    swapped.alu_byte_swap(swaps, bits as u32, f);
                    swapped.sync(f);
                    assert_holds(
                        &swapped,
                        xs.iter().map(|x| semantics::swap(kind, bits, *x)),
                        &(kind, bits, &a),
                    );
                }
            }
        }
    }
}

#[test]
fn comparisons_decide_and_teach_only_what_is_true() {
    let mut rng = Rng(3);
    for f in &builds() {
        for round in 0..20_000 {
            let (xs, ys) = (rng.set(), if round % 2 == 0 { vec![rng.value()] } else { rng.set() });
            let (mut a, mut b) = (abstraction(&xs), abstraction(&ys));
            blur(&mut a, &mut rng);
            a.sync(f);
            b.sync(f);
            for cond in Cond::ALL {
                for width in [Width::W32, Width::W64] {
                    check_comparison(&xs, &ys, (&a, &b), cond, width, f);
                }
            }
        }
    }
}

fn check_comparison(
    xs: &[u64],
    ys: &[u64],
    (a, b): (&RegState, &RegState),
    cond: Cond,
    width: Width,
    f: &Features,
) {
    let decided = is_scalar_branch_taken(a, b, cond, width);
    let (mut taken, mut not_taken) = (Pair::of(*a, *b, false), Pair::of(*a, *b, false));
    taken.refine(Fact::Holds(cond), width, f);
    not_taken.refine(Fact::not(cond), width, f);
    for (x, y) in xs.iter().flat_map(|x| ys.iter().map(move |y| (*x, *y))) {
        let truth = semantics::cond(cond, width, x, y);
        assert!(
            decided.is_none_or(|d| d == truth),
            "{cond:?} {width:?} {x:#x} {y:#x}: {a:?} {b:?}"
        );
        let pair = if truth { &taken } else { &not_taken };
        assert_holds(pair.first(), [x], &(cond, width, truth, a, b));
        assert_holds(pair.second(), [y], &(cond, width, truth, a, b));
    }
}

/// From the running kernel's level-2 log: `if r7 < 0x1f` on `(0x0; 0x20)` leaves `R7=32`, and
/// `if w6 != 0x2` on `umin=100,umax=0x100000002` leaves `R6=0x100000002`; 6.18.15 keeps the range.
#[test]
fn one_common_value_is_the_value() {
    let [new, old] = builds();
    let mut r = <RegState>::constant_scalar(0);
    r.var_off = Tnum { value: 0, mask: 0x20 };
    r.mark_unbounded();
    r.umin = 31;
    let mut before = r;
    r.sync(&new);
    before.sync(&old);
    assert_eq!((r.umin, r.umax, r.var_off), (32, 32, Tnum::constant(32)));
    assert_eq!((before.umin, before.umax, before.var_off.mask), (31, 32, 0x20));
}

/// From the running kernel's log: `r8 <<= 32` gives `smin=0xffff800000000000,smax=0x7fff00000000` for a
/// sign-extended 16-bit value; 6.18.15 has no minimum there.
#[test]
fn shift_by_32_moves_signed_bounds() {
    let [new, old] = builds();
    let mut r = <RegState>::constant_scalar(0);
    r.var_off = Tnum::UNKNOWN;
    r.mark_unbounded();
    r.coerce_to_size_sx(2);
    let (mut a, mut b) = (r, r);
    a.alu_lsh64(32, &new);
    b.alu_lsh64(32, &old);
    assert_eq!((a.smin as u64, a.smax), (0xffff_8000_0000_0000, 0x7fff_0000_0000));
    assert_eq!((b.smin, b.smax), (i64::MIN, 0x7fff_0000_0000));
}
