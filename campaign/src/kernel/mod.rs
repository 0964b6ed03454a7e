//! Kernels that are asked, and never the one this runs on: virtual machines ([`vm`]), or a command that answers a
//! batch of programs, which may reach a User-Mode Linux or another host ([`command`]).

pub mod command;
pub mod guest;
#[cfg(unix)]
pub mod vm;

use bpfassay_object::model::Program;
use serde::{Deserialize, Serialize};

/// What a kernel says of one program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Positive; 0 for accepted.
    #[serde(default)]
    pub errno: i32,
    #[serde(default)]
    pub log: String,
    /// Where it stopped: `ok` and `load` are verdicts.
    #[serde(default)]
    pub stage: String,
}

impl Answer {
    /// An answer of the verifier's.
    pub fn verdict(errno: i32, log: String) -> Answer {
        let stage = if errno == 0 { "ok" } else { "load" };
        Answer { errno, log, stage: stage.to_string() }
    }

    /// No answer, and why.
    pub fn none(stage: &str) -> Answer {
        Answer { stage: stage.to_string(), ..Answer::default() }
    }

    /// The program reached the verifier.
    pub fn is_verdict(&self) -> bool {
        matches!(self.stage.as_str(), "ok" | "load")
    }

    /// Equal for equal answers; the time taken, which the statistics hold, counts for nothing, nor do addresses of maps.
    pub(crate) fn hash(&self) -> u64 {
        let lines = self.log.lines().filter(|l| !l.starts_with("verification time "));
        let lines = lines.map(|l| match l.contains(": (18) r") {
            true => l.split(" = 0x").next().unwrap_or(l),
            false => l,
        });
        let bytes = lines.flat_map(|l| l.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325 ^ self.errno as u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// A program, and what we expect to hear.
pub struct Question<'a> {
    pub program: &'a Program,
    /// Sum of the bits that BPF_PROG_LOAD takes.
    pub log_level: u32,
    pub expected: Answer,
}

/// Anything that answers batches of programs.
pub trait Kernel: Send {
    fn name(&self) -> &str;

    /// The served kernel that it should answer like, where that is not the campaign's.
    fn release(&self) -> Option<&str> {
        None
    }

    /// One answer for each program, in order.
    ///
    /// # Errors
    /// The kernel stopped answering; how.
    fn ask(&mut self, questions: &[Question<'_>]) -> Result<Vec<Answer>, String>;
}
