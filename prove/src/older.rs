//! Rules of older kernels that are functions of their own: bounds deduced by sign alone and jumps that teach only
//! against a constant (before 6.8), products whose unknown bits spread (before 6.18), quotients and remainders of bounds
//! that are kept apart (7.0, 7.1).

use bpfassay_isa::bits::Word;
use bpfassay_isa::{semantics, AluOp, Cond, Width};
use bpfassay_spec::{Config, Kernel};
use bpfassay_verifier::domain::compare::Fact;
use bpfassay_verifier::domain::tnum::Tnum;

use crate::act::{Act, Step};
use crate::operations::{
    acts, bits, constant, holds, in_reg, in_tnum, mul_sum, named, question, reg, row, tnum,
    Concrete, Operation,
};
use crate::sym::Words;
use crate::weak::{weaken_reg, weaken_tnum};
use z3::ast::Bool;

/// The rows, each named by the first release that has other rules.
pub fn all_operations<B: Words>() -> Vec<Operation> {
    let mut ops = products::<B>();
    ops.extend(Step::PLAIN.map(|(step, name)| deduced::<B>(step, name)));
    ops.extend(comparisons::<B>());
    ops.extend(divisions::<B>());
    ops
}

fn older<B: Words>(before: &str, release: &'static str, op: Operation) -> Operation {
    Operation { name: format!("before {before}: {}", op.name), release, ..op }
}

fn deduced<B: Words>(step: Step, name: &str) -> Operation {
    let ask = move |weak| {
        let (mut a, x) = reg::<B>("x");
        step.apply(&mut a, &crate::operations::rules()[0]);
        weaken_reg(&mut a, weak);
        in_reg(x, &a)
    };
    older::<B>("6.8", "6.1", row::<B>(name, acts(Act::Step(step)), vec![question(ask)]))
}

fn products<B: Words>() -> Vec<Operation> {
    let concrete = bits(Act::Alu(AluOp::Mul, Width::W64));
    let one_row = row::<B>("tnum_mul: one row", concrete, vec![question(unknown_row::<B>)]);
    let sum = Operation {
        hard: Some("the rows of a product sum up to it: multiplication of words"),
        ..row::<B>("tnum_mul: sum of rows", concrete, vec![question(mul_sum::<B>)])
    };
    [one_row, sum].map(|op| older::<B>("6.18", "6.12", op)).into()
}

/// A row adds what its bit of `x` times `y` has beyond the known bits' product.
fn unknown_row<B: Words>(weak: bool) -> Bool {
    let ((acc, s), (a, x), (b, y)) = (tnum::<B::U64>("s"), tnum("x"), tnum("y"));
    let one = B::U64::lit(1);
    let times = |bit: B::U64, v: B::U64| if bit & one != B::U64::ZERO { v } else { B::U64::ZERO };
    let beyond = times(x, y).minus(times(a.value, b.value));
    let sum: Tnum<B::U64> = acc.plus_unknown_row(a, b);
    in_tnum(s.plus(beyond), weaken_tnum(sum, weak))
}

fn divisions<B: Words>() -> Vec<Operation> {
    let kernel = Kernel::of_release("7.1.13", "x86_64", Config::default());
    let Some(f) = kernel.map(|k| k.features) else { return Vec::new() };
    let mut ops = Vec::new();
    for op in [AluOp::Div, AluOp::SDiv, AluOp::Mod, AluOp::SMod] {
        for width in [Width::W64, Width::W32] {
            let (act, f) = (Act::Alu(op, width), f.clone());
            let ask = move |weak| {
                let ((mut a, x), (b, y)) = (reg::<B>("x"), constant("y"));
                act.apply(&mut a, &b, &f);
                weaken_reg(&mut a, weak);
                in_reg(act.exact::<B>(x, y), &a)
            };
            let row = row::<B>(named(op, width), acts(act), vec![question(ask)]);
            let hard = Some("order of quotients: division of words");
            ops.push(older::<B>("7.2", "7.1", Operation { hard, ..row }));
        }
    }
    ops
}

fn comparisons<B: Words>() -> Vec<Operation> {
    let mut ops = Vec::new();
    for cond in Cond::ALL {
        for width in [Width::W64, Width::W32] {
            for taken in [true, false] {
                let side = if taken { "taken" } else { "not taken" };
                let name = format!("j{} with a constant, {side}", named(cond, width));
                let ask = question(move |weak| refined::<B>(cond, width, taken, weak));
                let concrete = Concrete::JumpByConstant { cond, width, taken };
                ops.push(older::<B>("6.8", "6.1", row::<B>(name, concrete, vec![ask])));
            }
        }
    }
    ops
}

fn refined<B: Words>(cond: Cond, width: Width, taken: bool, weak: bool) -> Bool {
    let ((mut a, x), (_, k)) = (reg::<B>("x"), constant::<B>("y"));
    if semantics::cond_of::<B>(cond, width, x, k) != taken {
        return holds(true);
    }
    a.narrow_by_constant(k, if taken { Fact::Holds(cond) } else { Fact::not(cond) }, width);
    weaken_reg(&mut a, weak);
    in_reg(x, &a)
}
