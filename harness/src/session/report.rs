//! What a run says, as plain data: it crosses from a child to its parent, and becomes `bpfassay.run/1`.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use bpfassay_spec::errno;

use super::values::hex;
use crate::contain::Failure;
use crate::engine::Outcome;
use crate::runtime::ctx::Refusal;

/// One input's run on one engine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub engine: String,
    pub r0: u64,
    /// True where the engine knows the low half of r0 only.
    pub is_half: bool,
    #[serde(with = "as_hex")]
    pub data_out: Option<Vec<u8>>,
    #[serde(with = "as_hex")]
    pub ctx_out: Option<Vec<u8>>,
    pub repeat: u32,
    pub duration_ns: u64,
    pub compile_ns: Option<u64>,
    pub code_bytes: Option<u64>,
    pub trap: Option<TrapReport>,
    /// True when the answer may hang on time, chance, CPU or task.
    pub depends_on_world: bool,
}

/// Bytes as text that is twice as long, where a list of numbers would be four times.
mod as_hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::super::values::{from_hex, hex};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(hex).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| from_hex(&t).map_err(serde::de::Error::custom)).transpose()
    }
}

/// Why there is no return value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrapReport {
    /// A trap's word, `input` for input that was not taken, `crash` or `time_limit` for what
    /// ended in a child.
    pub kind: String,
    pub insn_idx: Option<usize>,
    pub detail: String,
    /// False where another engine may rightly do something else.
    pub is_comparable: bool,
}

impl Run {
    pub fn of(engine: &str, repeat: u32, out: &Outcome) -> Run {
        Run {
            engine: engine.to_string(),
            r0: out.r0,
            is_half: engine == super::EngineKind::Kernel.name(),
            data_out: out.data_out.clone(),
            ctx_out: out.ctx_out.clone(),
            repeat,
            duration_ns: u64::try_from(out.duration.as_nanos()).unwrap_or(u64::MAX),
            compile_ns: None,
            code_bytes: None,
            trap: trap(out),
            depends_on_world: out.depends_on_world,
        }
    }

    /// A run whose child gave no answer.
    pub fn failed(engine: &str, repeat: u32, failure: &Failure) -> Run {
        let kind = match failure {
            Failure::TimeLimit(_) => "time_limit",
            Failure::Signal(_) | Failure::NoAnswer | Failure::TooLong => "crash",
            Failure::System(..) | Failure::Unavailable | Failure::NoFilter => "unsupported",
        };
        let trap = TrapReport {
            kind: kind.to_string(),
            insn_idx: None,
            detail: failure.to_string(),
            is_comparable: kind == "crash",
        };
        Run { engine: engine.to_string(), repeat, trap: Some(trap), ..Run::default() }
    }

    pub fn retval(&self) -> u32 {
        self.r0 as u32
    }

    /// Return value or what came instead, for people.
    pub fn answer(&self) -> String {
        match &self.trap {
            Some(t) if t.kind == "input" => t.detail.clone(),
            Some(t) => format!("trap: {}", t.detail),
            None => self.retval().to_string(),
        }
    }

    /// The object of `bpfassay.run/1`.
    pub fn json(&self) -> Value {
        let trap = self.trap.as_ref();
        json!({
            "engine": self.engine,
            "r0": format!("{:#x}", self.r0),
            "retval": self.retval(),
            "data_out": self.data_out.as_deref().map(hex),
            "repeat": self.repeat,
            "duration_ns": self.duration_ns,
            "compile_ns": self.compile_ns,
            "code_bytes": self.code_bytes,
            "trap": trap.map(|t| json!({"kind": t.kind, "insn_idx": t.insn_idx, "detail": t.detail})),
        })
    }

    /// Same return value, packet and context, or both without one; times aside.
    ///
    /// None where they cannot be compared: limits, what is not modelled, what hangs on the world.
    pub fn agrees(&self, other: &Run) -> Option<bool> {
        let is_comparable = |r: &Run| r.trap.as_ref().is_none_or(|t| t.is_comparable);
        if !is_comparable(self) || !is_comparable(other) {
            return None;
        }
        let same_r0 = match self.is_half || other.is_half {
            true => self.retval() == other.retval(),
            false => self.r0 == other.r0,
        };
        let bytes = |b: &Option<Vec<u8>>| b.clone().unwrap_or_default();
        let same = match (&self.trap, &other.trap) {
            (None, None) => {
                same_r0
                    && bytes(&self.data_out) == bytes(&other.data_out)
                    && bytes(&self.ctx_out) == bytes(&other.ctx_out)
            }
            (Some(a), Some(b)) if a.kind == "input" => a == b,
            (a, b) => a.is_some() == b.is_some(),
        };
        match same || !(self.depends_on_world || other.depends_on_world) {
            true => Some(same),
            false => None,
        }
    }
}

/// What a test run answers for program types that have none.
const ENOTSUPP: i64 = 524;

fn trap(out: &Outcome) -> Option<TrapReport> {
    let input = |detail, is_comparable| TrapReport {
        kind: "input".to_string(),
        insn_idx: None,
        detail,
        is_comparable,
    };
    match (&out.refusal, &out.trap) {
        (Some(Refusal::Errno(ENOTSUPP)), _) => {
            Some(input("the kernel has no test run of this program type".to_string(), false))
        }
        (Some(Refusal::Errno(e)), _) => {
            let name = errno::name(i32::try_from(*e).unwrap_or(0));
            Some(input(format!("input refused with {name}"), true))
        }
        (Some(Refusal::Unsupported(what)), _) => {
            Some(input(format!("{what} is not modelled"), false))
        }
        (None, Some(t)) => Some(TrapReport {
            kind: t.code().to_string(),
            insn_idx: Some(t.insn_idx),
            detail: t.to_string(),
            is_comparable: t.is_comparable(),
        }),
        (None, None) => None,
    }
}

/// What one engine says of all inputs.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// One per input; fewer where a child ended before its time.
    pub runs: Vec<Run>,
    /// What the maps hold afterwards, where asked for and known.
    pub maps: Option<Value>,
    /// Why it ran in a child.
    pub contained: Option<String>,
}
