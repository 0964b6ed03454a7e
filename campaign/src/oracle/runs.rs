//! What an accepted program does on its inputs under the checking interpreter, run once for all oracles.

use bpfassay_harness::engine::{Outcome, TrapKind};
use bpfassay_harness::engines::interp::Tracer;
use bpfassay_harness::kernel::Element;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_harness::trust::Trusted;
use bpfassay_isa::Insn;
use bpfassay_verifier::{MemoryUse, Report};

use crate::case::Case;

/// Instructions of one run; generated programs are short.
pub const FUEL: u64 = 1 << 16;

/// Steps kept for one instruction.
const SAMPLE: usize = 12;

/// Instructions of a run before the verdict is known: loops without end are many among rejected programs.
const EARLY_FUEL: u64 = 1 << 12;

/// One run for each input, in order, with the same maps.
#[derive(Debug)]
pub struct Runs {
    pub outcomes: Vec<Outcome>,
    /// Afterwards.
    pub maps: Vec<Vec<Element>>,
    pub steps: Steps,
}

impl Runs {
    /// Of a program that nobody has judged: the checking interpreter looks at every access.
    ///
    /// None where the program's maps cannot be made.
    pub fn early(case: &Case) -> Option<Runs> {
        let mut interp = Interp::load(&case.program, World::seeded(1)).ok()?;
        interp.fuel = EARLY_FUEL;
        Some(Runs::with(interp, case))
    }

    /// None where the program's maps cannot be made, or it reads a map's fields.
    pub fn of(case: &Case, report: &Report) -> Option<Runs> {
        let mut interp = match Trusted::of_report(&case.program, report) {
            // Of the kernel's own structures there are none here.
            Ok(trusted) if trusted.reads_maps() => return None,
            Ok(trusted) => Interp::verified(&trusted, World::seeded(1)),
            Err(_) => Interp::load(&case.program, World::seeded(1)),
        }
        .ok()?;
        interp.fuel = FUEL;
        Some(Runs::with(interp, case))
    }

    fn with(mut interp: Interp, case: &Case) -> Runs {
        let mut watch = Watch { steps: Steps::new(case.program.insns.len()) };
        let run = |input| interp.run_traced(input, &mut watch);
        let outcomes = case.inputs.iter().map(run).collect();
        let maps = (0..case.program.maps.len()).map(|m| interp.elements(m)).collect();
        Runs { outcomes, maps, steps: watch.steps }
    }

    /// They are what [`Runs::of`] would give: no run was cut short, and the verifier's word on memory and context
    /// changes nothing.
    pub fn are_final(&self, case: &Case, report: &Report) -> bool {
        let is_out =
            |o: &Outcome| o.trap.as_ref().is_some_and(|t| matches!(t.kind, TrapKind::OutOfFuel));
        report.memory.iter().all(|m| *m == MemoryUse::Plain)
            && case.inputs.iter().all(|i| report.max_ctx_offset as usize <= i.ctx.len().max(1))
            && !self.outcomes.iter().any(is_out)
    }

    /// The first instruction that was run although no path of the verifier came to it.
    pub fn unseen(&self, visits: &[u32]) -> Option<usize> {
        (0..self.steps.insns())
            .find(|i| visits.get(*i) == Some(&0) && self.steps.before(*i).next().is_some())
    }
}

/// Registers before an instruction.
#[derive(Clone, Debug)]
pub struct Step {
    pub frame: u32,
    pub regs: [u64; 11],
}

/// A sample of steps by instruction.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    all: Vec<Step>,
    /// Of each instruction: how many are kept, and where in `all`.
    at: Vec<(u8, [u16; SAMPLE])>,
}

impl Steps {
    fn new(insns: usize) -> Steps {
        Steps { all: Vec::with_capacity(insns * 3), at: vec![(0, [0; SAMPLE]); insns] }
    }

    fn note(&mut self, frame: usize, idx: usize, regs: &[u64]) {
        let Some((n, places)) = self.at.get_mut(idx) else { return };
        let (Some(place), Ok(next)) = (places.get_mut(usize::from(*n)), self.all.len().try_into())
        else {
            return;
        };
        let mut all = [0; 11];
        all.copy_from_slice(&regs[..11]);
        *place = next;
        *n += 1;
        self.all.push(Step { frame: frame as u32, regs: all });
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Those before an instruction, with their numbers below [`Steps::count`].
    pub fn before(&self, idx: usize) -> impl Iterator<Item = (usize, &Step)> {
        let places = self.at.get(idx).map_or(&[][..], |(n, p)| &p[..usize::from(*n)]);
        places.iter().map(|p| (usize::from(*p), &self.all[usize::from(*p)]))
    }

    /// Instructions of the program.
    pub fn insns(&self) -> usize {
        self.at.len()
    }
}

struct Watch {
    steps: Steps,
}

impl Tracer for Watch {
    const ENABLED: bool = true;
    fn step(&mut self, frame: usize, idx: usize, _insn: &Insn, regs: &[u64]) {
        self.steps.note(frame, idx, regs);
    }
}
