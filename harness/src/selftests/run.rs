//! What a test program returns, beside what its annotation says.

use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;
use bpfassay_verifier::Config;
use serde_json::{json, Value};

use super::annotations::ANY_RETVAL;
use crate::contain::Limits;
use crate::engine::Input;
use crate::runtime::world::World;
use crate::session::{self, maps::Preload, EngineKind, Failed, Job, Run as Answer, Subject};
use crate::testrun::MapSlots;
use crate::trust;

/// What the selftests put into a map before they run the programs of a source: `struct test_val`.
const PREPARED: [(&str, &str); 2] =
    [("verifier_array_access", "map_array_ro"), ("verifier_value_ptr_arith", "map_array_48b")];

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Run {
    AsExpected,
    Differs {
        expected: i32,
        got: i32,
    },
    /// As annotated, and otherwise on the checking interpreter: its answer, and the engine's.
    Apart(String, String),
    /// The engine stopped at something it does not model, or did not take the input.
    NotModelled(String),
    Trapped(String),
}

/// Runs programs of one source on one engine, and on the checking interpreter beside it.
pub struct Runner<'a> {
    pub engine: EngineKind,
    pub limits: Limits,
    /// Name of the source, without folder.
    pub source: &'a str,
    /// Programs of the same object, and what its maps hold of them.
    pub others: Vec<&'a Program>,
    pub slots: &'a [MapSlots],
}

impl Runner<'_> {
    /// Runs an accepted program on these bytes; `expected` is its annotation.
    pub fn run(&self, program: &Program, config: &Config<'_>, data: &[u8], expected: i32) -> Run {
        let answer = match self.answer(program, config, data, self.engine) {
            Ok(answer) => answer,
            Err(why) => return Run::NotModelled(why),
        };
        match &answer.trap {
            Some(trap) if !trap.is_comparable => {
                let why = trap.detail.split_once(": ").map_or(&*trap.detail, |(_, w)| w);
                return Run::NotModelled(why.to_string());
            }
            Some(trap) => return Run::Trapped(trap.detail.clone()),
            None => {}
        }
        let got = answer.retval() as i32;
        if expected == ANY_RETVAL {
            return Run::AsExpected;
        }
        if got != expected {
            return Run::Differs { expected, got };
        }
        if self.engine == EngineKind::Interp {
            return Run::AsExpected;
        }
        match self.answer(program, config, data, EngineKind::Interp) {
            Ok(own) if own.agrees(&answer) == Some(false) => {
                Run::Apart(own.answer(), answer.answer())
            }
            _ => Run::AsExpected,
        }
    }

    fn answer(
        &self,
        program: &Program,
        config: &Config<'_>,
        data: &[u8],
        engine: EngineKind,
    ) -> Result<Answer, String> {
        let trusted = trust::verify_all(program, &self.others, self.slots, config);
        let mut world = World::seeded(1);
        (world.kernel.vmlinux, world.kernel.modules) =
            (config.vmlinux.clone(), config.modules.clone());
        // Programs of this type take no packet.
        let data = if program.prog_type == ProgType::Syscall { Vec::new() } else { data.to_vec() };
        let others = self.others.clone();
        let job = Job {
            subject: Subject::Program { program, others, slots: self.slots },
            inputs: vec![Input { data, ..Input::default() }],
            preload: self.prepared(program),
            world,
            keeps_output: true,
            dump_maps: false,
            trace: false,
            limits: self.limits,
        };
        let answer = session::run(&job, engine, trusted.as_deref()).map_err(|e| match e {
            Failed::Rejected(errno) => format!("rejected with errno {errno}"),
            Failed::Unavailable(why) | Failed::Wrong(why) => why,
        })?;
        answer.runs.into_iter().next().ok_or("no answer".to_string())
    }

    fn prepared(&self, program: &Program) -> Vec<Preload> {
        let wanted = PREPARED.iter().find(|(name, _)| self.source.starts_with(name));
        let map = wanted.and_then(|(_, map)| program.maps.iter().position(|m| m.name == *map));
        let Some(map) = map else { return Vec::new() };
        // Seven integers' bytes as index, then the array's seventh element.
        let mut value = vec![0; program.maps[map].value_size as usize];
        value[..4].copy_from_slice(&28u32.to_le_bytes());
        value[28..32].copy_from_slice(&0xabcd_ef12u32.to_le_bytes());
        let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
        vec![Preload { map, key: Some(json!(0)), value: Value::String(hex) }]
    }
}
