//! Where cases come from: a seed, a fuzzer's bytes, a list of choices; and proptest's view of the same.

use proptest::prelude::Rng;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::case::Case;
use crate::choices::Choices;
use crate::gen;

/// A case that is still to be made; the same source always makes the same case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The case of this number in the campaign of that seed.
    Seed { seed: u64, number: u64 },
    /// A coverage-guided fuzzer's input.
    Bytes(Vec<u8>),
    /// What an earlier case was made of.
    Choices(Vec<u64>),
}

impl Source {
    pub fn case(&self) -> Case {
        match self {
            Source::Seed { seed, number } => {
                // Apart for neighbouring numbers and seeds.
                let mixed = seed.rotate_left(32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                gen::case(format!("seed {seed}, case {number}"), Choices::seeded(mixed))
            }
            Source::Bytes(bytes) => gen::case("bytes".to_string(), Choices::of_bytes(bytes)),
            Source::Choices(list) => gen::case("choices".to_string(), Choices::of_list(list)),
        }
    }
}

/// Every generated case, as a proptest strategy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cases;

impl Strategy for Cases {
    type Tree = CaseTree;
    type Value = Case;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Cases> {
        let source = Source::Seed { seed: runner.rng().next_u64(), number: 0 };
        Ok(CaseTree::of(source.case().choices))
    }
}

/// A case that becomes simpler: runs of choices are left out, then single ones become smaller.
#[derive(Clone, Debug)]
pub struct CaseTree {
    now: Vec<u64>,
    before: Vec<u64>,
    step: Step,
}

/// What is tried next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Leave out `len` choices from `at` on, the last ones first.
    Cut {
        len: usize,
        at: usize,
    },
    /// Halve the choice at this place, or make it zero first.
    Lower {
        at: usize,
        to_zero: bool,
    },
    Done,
}

impl CaseTree {
    pub fn of(choices: Vec<u64>) -> CaseTree {
        let len = (choices.len() / 2).max(1);
        let step = Step::Cut { len, at: choices.len().saturating_sub(len) };
        CaseTree { before: choices.clone(), now: choices, step }
    }

    fn next_cut(&self, len: usize, at: usize) -> Step {
        if at > 0 {
            return Step::Cut { len, at: at.saturating_sub(len) };
        }
        match len / 2 {
            0 => Step::Lower { at: 0, to_zero: true },
            half => Step::Cut { len: half, at: self.now.len().saturating_sub(half) },
        }
    }
}

impl ValueTree for CaseTree {
    type Value = Case;

    fn current(&self) -> Case {
        Source::Choices(self.now.clone()).case()
    }

    fn simplify(&mut self) -> bool {
        loop {
            let mut next = self.now.clone();
            match self.step {
                Step::Done => return false,
                Step::Cut { len, at } => {
                    let end = (at + len).min(next.len());
                    next.drain(at.min(end)..end);
                    self.step = self.next_cut(len, at);
                }
                Step::Lower { at, to_zero } => match next.get_mut(at) {
                    None => self.step = Step::Done,
                    Some(0) => self.step = Step::Lower { at: at + 1, to_zero: true },
                    Some(v) if to_zero => {
                        *v = 0;
                        self.step = Step::Lower { at, to_zero: false };
                    }
                    Some(v) => {
                        *v /= 2;
                        self.step = Step::Lower { at: at + 1, to_zero: true };
                    }
                },
            }
            if next != self.now {
                self.before = std::mem::replace(&mut self.now, next);
                return true;
            }
        }
    }

    /// The last step went too far.
    fn complicate(&mut self) -> bool {
        let changed = self.now != self.before;
        self.now = self.before.clone();
        changed
    }
}
