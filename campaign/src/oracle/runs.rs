//! What an accepted program does on its inputs under the checking interpreter, run once for all oracles.

use bpfassay_harness::engine::Outcome;
use bpfassay_harness::engines::interp::Tracer;
use bpfassay_harness::kernel::Element;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_harness::trust::Trusted;
use bpfassay_isa::Insn;
use bpfassay_verifier::Report;

use crate::case::Case;

/// Instructions of one run; generated programs are short.
pub const FUEL: u64 = 1 << 16;

/// Steps kept for one instruction.
const SAMPLE: usize = 12;

/// One run for each input, in order, with the same maps.
#[derive(Debug)]
pub struct Runs {
    pub outcomes: Vec<Outcome>,
    /// Afterwards.
    pub maps: Vec<Vec<Element>>,
    /// Input and first instruction that no path of the verifier came to.
    pub unseen: Option<(usize, usize)>,
    pub steps: Steps,
}

impl Runs {
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
        let steps = Steps::new(case.program.insns.len());
        let mut watch = Watch { visits: &report.insn_visits, unseen: None, steps };
        let mut unseen = None;
        let mut outcomes = Vec::with_capacity(case.inputs.len());
        for (i, input) in case.inputs.iter().enumerate() {
            outcomes.push(interp.run_traced(input, &mut watch));
            unseen = unseen.or(watch.unseen.map(|at| (i, at)));
        }
        let maps = (0..case.program.maps.len()).map(|m| interp.elements(m)).collect();
        Some(Runs { outcomes, maps, unseen, steps: watch.steps })
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

struct Watch<'v> {
    visits: &'v [u32],
    unseen: Option<usize>,
    steps: Steps,
}

impl Tracer for Watch<'_> {
    const ENABLED: bool = true;
    fn step(&mut self, frame: usize, idx: usize, _insn: &Insn, regs: &[u64]) {
        if self.unseen.is_none() && self.visits.get(idx) == Some(&0) {
            self.unseen = Some(idx);
        }
        self.steps.note(frame, idx, regs);
    }
}
