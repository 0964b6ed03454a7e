//! The interpreter, this host's JIT, and through digests any other's, on random programs.
//!
//! A seed names a program, what it jumps to, and its inputs, for ever and on every host.  What came of
//! it is r0, memory or packet, and context of every input, and the maps after the last.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use bpfassay_isa::RawInsn;

use crate::engine::{Input, Instance, Outcome};
use crate::engines::code::Code;
use crate::engines::native::{Native, RawNative};
use crate::gen::bare;
use crate::gen::loaded::{self, Kind, Loaded};
use crate::gen::rng::Rng;
use crate::kernel::Element;
use crate::native::machine::Facts;
use crate::raw::RawInterp;
use crate::runtime::world::World;
use crate::runtime::Runtime;
use crate::testrun::{elements, Interp};

/// Inputs of every program.
pub const INPUTS: usize = 16;

/// What a seed stands for.
pub struct Case {
    program: Program,
    inputs: Vec<Input>,
    /// Seed of blinding, where constants are blinded.
    blind: Option<u64>,
}

enum Program {
    Bare(Vec<RawInsn>),
    Loaded(Box<Loaded>),
}

/// What came of a case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    runs: Vec<Outcome>,
    maps: Vec<Vec<Element>>,
}

impl Case {
    pub fn new(seed: u64) -> Case {
        let mut rng = Rng::new(!seed);
        let mut bytes = |n: usize| (0..n).map(|_| rng.next_u64() as u8).collect::<Vec<_>>();
        let len = [10, 30, 60, 200][(seed & 3) as usize];
        let (program, input): (_, &mut dyn FnMut() -> Input) = match seed / 4 % 8 {
            0..=3 => (Program::Bare(bare::program(seed, len)), &mut || Input {
                data: bytes(bare::MEMORY),
                ..Input::default()
            }),
            4..=6 => (
                Program::Loaded(Box::new(loaded::program(seed, Kind::Plain, len / 2))),
                &mut || Input { ctx: bytes(bare::MEMORY), ..Input::default() },
            ),
            _ => (
                Program::Loaded(Box::new(loaded::program(seed, Kind::Packet, len / 2))),
                &mut || frame(&bytes(128 + 32)),
            ),
        };
        let inputs = (0..INPUTS).map(|_| input()).collect();
        Case { program, inputs, blind: (seed % 5 == 4).then_some(seed) }
    }

    /// What the checking interpreter says.
    pub fn interpret(&self) -> Result<Answer, String> {
        match &self.program {
            Program::Bare(insns) => {
                let mut interp = RawInterp::new(insns);
                Ok(Answer { runs: run(&mut interp, &self.inputs), maps: Vec::new() })
            }
            Program::Loaded(loaded) => {
                let mut interp = Interp::load(&loaded.main, World::seeded(0))
                    .map_err(|e| format!("not loaded: {e:?}"))?;
                link(&mut interp.rt, loaded);
                let runs = run(&mut interp, &self.inputs);
                Ok(Answer { runs, maps: maps(&interp.rt, loaded) })
            }
        }
    }

    /// What this host's compiled code says.
    ///
    /// # Safety
    /// The programs end and stay within their memory if both engines are right; if not, they may do
    /// anything.
    pub unsafe fn execute(&self) -> Result<Answer, String> {
        match &self.program {
            Program::Bare(insns) => {
                // SAFETY: the caller's promise.
                let mut native = unsafe { RawNative::new(insns, self.blind) }
                    .map_err(|e| format!("not compiled: {e}"))?;
                Ok(Answer { runs: run(&mut native, &self.inputs), maps: Vec::new() })
            }
            Program::Loaded(loaded) => {
                let (facts, world) = (Facts::default(), World::seeded(0));
                // SAFETY: the caller's promise.
                let mut native = unsafe { Native::load(&loaded.main, &facts, world, self.blind) }
                    .map_err(|e| format!("not compiled: {e:?}"))?;
                link(&mut native.rt, loaded);
                let runs = run(&mut native, &self.inputs);
                Ok(Answer { runs, maps: maps(&native.rt, loaded) })
            }
        }
    }
}

/// A frame of no known protocol, and a context.
fn frame(bytes: &[u8]) -> Input {
    let (data, fields) = bytes.split_at(bytes.len() - 32);
    let len = 16 + usize::from(data[0]) % 112;
    let mut data = data[..len].to_vec();
    data[12..14].copy_from_slice(&[0x88, 0xb5]);
    let mut ctx = vec![0; 192];
    for (at, from) in [(8, 0), (32, 4)] {
        ctx[at..at + 4].copy_from_slice(&fields[from..from + 4]);
    }
    ctx[48..68].copy_from_slice(&fields[8..28]);
    Input { data, ctx, repeat: 0 }
}

fn run(engine: &mut dyn Instance, inputs: &[Input]) -> Vec<Outcome> {
    inputs.iter().map(|i| engine.run(i)).collect()
}

fn link(rt: &mut Runtime, loaded: &Loaded) {
    if let Some(map) = rt.maps.get_mut(loaded::PROGRAMS as usize) {
        for (at, insns) in &loaded.targets {
            map.set_program(*at, Arc::new(Code::new(insns)));
        }
    }
}

fn maps(rt: &Runtime, loaded: &Loaded) -> Vec<Vec<Element>> {
    (0..loaded.main.maps.len()).map(|i| elements(rt, i)).collect()
}

impl Answer {
    /// A trap that generated programs do not run into.
    pub fn trap(&self) -> Option<String> {
        self.runs.iter().find_map(|o| match (&o.trap, &o.refusal) {
            (Some(trap), _) => Some(trap.to_string()),
            (None, refusal) => refusal.as_ref().map(|r| format!("{r:?}")),
        })
    }

    /// Whether any element of this map holds anything but zeroes.
    pub fn has_written(&self, map: usize) -> bool {
        let mut elements = self.maps.get(map).into_iter().flatten();
        elements.any(|(_, value)| value.iter().any(|b| *b != 0))
    }

    /// Eight bytes that tell it from any other answer.
    pub fn digest(&self) -> u64 {
        let mut d = Digest(0);
        for o in &self.runs {
            d.word(o.r0);
            d.bytes(o.trap.as_ref().map_or("", |t| t.code()).as_bytes());
            d.bytes(o.data_out.as_deref().unwrap_or_default());
            d.bytes(o.ctx_out.as_deref().unwrap_or_default());
        }
        for elements in &self.maps {
            d.word(elements.len() as u64);
            for (key, value) in elements {
                d.bytes(key);
                d.bytes(value);
            }
        }
        d.0
    }

    /// What tells two answers apart, for people.
    pub fn difference(&self, other: &Answer) -> Option<String> {
        for (i, (a, b)) in self.runs.iter().zip(&other.runs).enumerate() {
            if a.r0 != b.r0 {
                return Some(format!("input {i}: r0 {:#x}, not {:#x}", b.r0, a.r0));
            }
            if a.data_out != b.data_out {
                return Some(format!("input {i}: memory differs"));
            }
            if a.ctx_out != b.ctx_out {
                return Some(format!("input {i}: the context differs"));
            }
        }
        let map = self.maps.iter().zip(&other.maps).position(|(a, b)| a != b);
        map.map(|i| format!("map {i} differs"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |b: &[u8]| b.iter().map(|v| format!("{v:02x}")).collect::<String>();
        for o in &self.runs {
            write!(f, "{:#x}", o.r0)?;
            if let Some(trap) = &o.trap {
                write!(f, " {trap}")?;
            }
            let bytes = |b: &Option<Vec<u8>>| hex(b.as_deref().unwrap_or_default());
            writeln!(f, " data {} ctx {}", bytes(&o.data_out), bytes(&o.ctx_out))?;
        }
        for (i, elements) in self.maps.iter().enumerate() {
            for (key, value) in elements {
                writeln!(f, "map {i} [{}] = {}", hex(key), hex(value))?;
            }
        }
        Ok(())
    }
}

/// Order and lengths count; the same on every host.
struct Digest(u64);

impl Digest {
    fn word(&mut self, w: u64) {
        self.0 = Rng::new(self.0.rotate_left(23) ^ w).next_u64();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
}

/// Runs the case of a seed on both; the error is for people.
///
/// # Safety
/// As [`Case::execute`].
pub unsafe fn agree(seed: u64) -> Result<Answer, String> {
    let case = Case::new(seed);
    let want = case.interpret()?;
    if let Some(trap) = want.trap() {
        return Err(format!("the interpreter traps: {trap}"));
    }
    // SAFETY: the caller's promise.
    let got = unsafe { case.execute() }?;
    match got.trap() {
        Some(trap) => Err(format!("the JIT traps: {trap}")),
        None => want.difference(&got).map_or(Ok(want), Err),
    }
}
