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

/// How an instruction reaches memory, where its bytes do not say (`convert_ctx_accesses` asks the same).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryUse {
    #[default]
    Plain,
    /// A load through a BTF pointer that may be gone: a fault reads as zero (`PROBE_MEM`).
    Probe,
    /// Through a 32-bit arena pointer (`PROBE_MEM32`).
    Arena,
    /// A load of a field of the kernel's own structure of a map.
    MapField,
}

/// A path, from its first instruction to the one that was rejected.
///
/// Empty where no path was at fault: the program's shape, its stack, its calls.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    pub steps: Vec<TrailStep>,
    /// Older steps that were not kept.
    pub dropped: u64,
    /// Registers that may be read before they are written, before each instruction, a bit each.
    pub live: Vec<u16>,
}

/// One instruction of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrailStep {
    pub insn_idx: u32,
    /// Depth of calls, 0 for the program itself.
    pub frame: u32,
    /// Registers and slots of the innermost frame before it, as the log writes them: ` R1=ctx() R10=fp0`.
    pub state: String,
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
    /// Deepest stack in bytes along a chain of calls, rounded as the kernel does: what is held against
    /// `MAX_BPF_STACK`.  0 if the program was rejected before the calls were walked.
    pub max_stack: u32,
    /// End of the part of the context that is accessed, bytes: test runs of some types refuse a shorter one.
    pub max_ctx_offset: u32,
    /// Times each instruction slot was processed; the sum is `insns_processed`.  Empty if the verifier did not start.
    pub insn_visits: Vec<u32>,
    /// How each slot reaches memory, for engines that run the program.
    pub memory: Vec<MemoryUse>,
    /// First slots of the functions whose frames the kernel keeps off its own stack (`PRIV_STACK_ADAPTIVE`).
    pub private_stacks: Vec<u32>,
    /// The capability whose want refused the program before verification, in words.
    pub lacking: Option<String>,
    /// What was assumed of the load, in words.
    pub notes: Vec<String>,
    /// The path on which exploring stopped; empty unless asked for ([`crate::verify_recorded`]).
    pub trail: Trail,
    /// The log at the level asked for.
    pub log: String,
}

impl Report {
    /// The last message line.
    pub fn message(&self) -> Option<&str> {
        self.message_lines.last().map(String::as_str)
    }
}
