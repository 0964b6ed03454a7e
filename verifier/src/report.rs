//! What an analysis says.

use crate::stop::Errno;

/// The answer for one program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Accepted,
    Rejected(Errno),
    /// Names what we cannot judge.
    Unsupported(String),
}

/// Counters of the `processed` line (`print_verification_stats`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub insns_processed: u32,
    pub max_states_per_insn: u32,
    pub total_states: u32,
    pub peak_states: u32,
    pub mark_read: u32,
}

/// Result of [`crate::verify`].
#[derive(Clone, Debug)]
pub struct Report {
    pub verdict: Verdict,
    /// Trailing block of log lines that are messages, without line ends.
    pub message_lines: Vec<String>,
    /// Instruction the analysis stood at when it stopped, for rejections found while exploring.
    pub insn_idx: Option<u32>,
    /// Name of a kernel quirk that decided the verdict.
    pub quirk: Option<&'static str>,
    pub stats: Stats,
    /// Deepest stack in bytes per subprogram, main first (the log's `stack depth`).
    pub stack_depths: Vec<u32>,
    /// The log at the level asked for.
    pub log: String,
}

impl Report {
    /// The last message line.
    pub fn message(&self) -> Option<&str> {
        self.message_lines.last().map(String::as_str)
    }
}
