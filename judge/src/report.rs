//! The stable machine form of a check: schema `bpfassay.check/1`.
//!
//! Field order is part of what a reader sees; reports are equal byte for byte
//! from run to run and host to host, `verification_us` aside.

use bpfassay_object::{LoadError, LoadErrorKind};
use serde::Serialize;

use crate::explain::Explanation;
use crate::maps::{MapReport, MapVerdict};
use crate::program::Judged;
use crate::target::Target;

/// Value of `schema`.
pub const SCHEMA: &str = "bpfassay.check/1";

/// Kind of an [`ObjectError`] that is a mistake of ours.
const INTERNAL: &str = "internal";

/// A whole check.
#[derive(Serialize, Debug)]
pub struct CheckReport {
    pub schema: &'static str,
    /// `bpfassay` and its version.
    pub tool: String,
    /// Exact kernel release judged for ([`Target::label`]).
    pub kernel: String,
    pub profile: String,
    /// SHA-256 of the kernel BTF used, hexadecimal; null without one.
    pub btf: Option<String>,
    /// What the verdicts rest on though nobody measured it, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    pub objects: Vec<ObjectReport>,
    pub summary: Summary,
}

impl CheckReport {
    /// The report on judged objects, with their counts.
    pub fn new(target: &Target, objects: Vec<ObjectReport>) -> CheckReport {
        let summary = Summary::of(&objects);
        CheckReport {
            schema: SCHEMA,
            tool: format!("bpfassay {}", env!("CARGO_PKG_VERSION")),
            kernel: target.label(),
            profile: target.profile.clone(),
            btf: target.btf_hash.clone(),
            assumed: target.assumed.clone(),
            objects,
            summary,
        }
    }

    /// As `bpfassay check --format json` prints it: indented, ending in a newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// One file.
#[derive(Serialize, Debug)]
pub struct ObjectReport {
    pub path: String,
    pub error: Option<ObjectError>,
    pub programs: Vec<ProgramReport>,
    /// The maps that a loader creates before any program.
    pub maps: Vec<MapReport>,
}

impl ObjectReport {
    /// An object whose maps and programs were judged; the first error of a program is also the object's.
    ///
    /// A loader creates every map before it loads a program, so a map that is refused refuses what would be accepted.
    pub fn of(path: &str, maps: Vec<MapReport>, judged: Vec<Judged>) -> ObjectReport {
        let error = judged.iter().find_map(|j| j.error.clone());
        let mut programs: Vec<ProgramReport> = judged.into_iter().map(|j| j.report).collect();
        if let Some(map) = maps.iter().find(|m| m.verdict == MapVerdict::Rejected) {
            programs.iter_mut().for_each(|p| p.refuse_for(map));
        }
        ObjectReport { path: path.to_string(), error, programs, maps }
    }

    /// An object that could not be read.
    pub fn unread(path: &str, error: ObjectError) -> ObjectReport {
        ObjectReport {
            path: path.to_string(),
            error: Some(error),
            programs: Vec::new(),
            maps: Vec::new(),
        }
    }
}

/// Why a file, or part of it, could not be read.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct ObjectError {
    /// Stable word for the kind of error.
    pub kind: String,
    pub message: String,
}

impl ObjectError {
    /// A mistake of ours: what a caught panic said.
    pub fn internal(cause: &(dyn std::any::Any + Send)) -> ObjectError {
        let text = cause.downcast_ref::<&str>().map(|s| (*s).to_string());
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
        let why = text.unwrap_or_else(|| "panicked".to_string());
        ObjectError { kind: INTERNAL.to_string(), message: format!("internal error: {why}") }
    }

    /// What the operating system said when the file was read.
    pub fn io(message: impl ToString) -> ObjectError {
        ObjectError { kind: "io".to_string(), message: message.to_string() }
    }

    /// True if it says that the kernel lacks a function, variable or type, which another kernel may have.
    pub fn is_of_the_kernel(&self) -> bool {
        use LoadErrorKind as K;
        let kinds = [K::Extern, K::Absent, K::StructOps, K::AttachTarget, K::CoRe];
        kinds.iter().any(|k| k.name() == self.kind)
    }

    /// True where the kernel lacks what the program needs: no loader loads it there.
    pub fn is_absent(&self) -> bool {
        self.kind == LoadErrorKind::Absent.name()
    }

    /// True for a mistake of ours.
    pub fn is_internal(&self) -> bool {
        self.kind == INTERNAL
    }
}

impl From<LoadError> for ObjectError {
    fn from(e: LoadError) -> ObjectError {
        ObjectError { kind: e.kind.name().to_string(), message: e.to_string() }
    }
}

/// One program, judged as if loaded alone.
#[derive(Serialize, Clone, Debug)]
pub struct ProgramReport {
    pub name: String,
    pub section: String,
    pub prog_type: &'static str,
    pub attach_type: Option<&'static str>,
    /// Instruction slots as loaded.
    pub insn_cnt: usize,
    pub verdict: VerdictWord,
    /// Positive kernel error number of a rejection.
    pub errno: Option<i32>,
    /// Last message line of the log; for *unsupported*, what is missing.
    pub message: Option<String>,
    pub message_lines: Vec<String>,
    /// Stable code of the message.
    pub code: Option<&'static str>,
    pub quirk: Option<&'static str>,
    /// A served build that has what this kernel lacks for the program (`--kernel`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
    pub insn_idx: Option<u32>,
    pub source: Option<Source>,
    pub stats: ProgramStats,
    /// The verifier's log, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Everything below is for the text report and not part of the contract.
    #[serde(skip)]
    pub detail: Detail,
}

impl ProgramReport {
    /// An accepted program that does not load because the object's map cannot be made.
    pub fn refuse_for(&mut self, map: &MapReport) {
        if self.verdict != VerdictWord::Accepted {
            return;
        }
        self.verdict = VerdictWord::Rejected;
        self.errno = map.errno;
        let why = map.message.as_deref().unwrap_or("refused");
        self.message = Some(format!("map `{}` cannot be made: {why}", map.name));
        self.code = map.code;
    }
}

/// The three answers.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum VerdictWord {
    Accepted,
    Rejected,
    Unsupported,
}

impl VerdictWord {
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictWord::Accepted => "accepted",
            VerdictWord::Rejected => "rejected",
            VerdictWord::Unsupported => "unsupported",
        }
    }
}

/// A place in the source, from the object's line info.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Source {
    pub file: String,
    pub line: u32,
    pub text: String,
    #[serde(skip)]
    pub column: u32,
}

/// Cost of the verdict.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProgramStats {
    pub insns_processed: u32,
    pub max_states_per_insn: u32,
    pub total_states: u32,
    pub peak_states: u32,
    pub mark_read: u32,
    /// Sum of the subprograms' deepest stack use, bytes.
    pub stack_depth: u32,
    pub verification_us: u64,
}

/// What the text report shows beside the contract.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Log at the level asked for.
    pub log: String,
    /// Text of the failing instruction.
    pub insn_text: Option<String>,
    /// What the loader decided on its own.
    pub notes: Vec<String>,
    /// Which capability would make the difference, and for what.
    pub needs: Option<String>,
    /// Deepest stack along a chain of calls, as the kernel holds it against its limit.
    pub max_stack: u32,
    /// Times each instruction slot was processed.
    pub insn_visits: Vec<u32>,
    /// Why it was rejected, where that was asked.
    pub explanation: Option<Box<Explanation>>,
}

/// Counts over all objects.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub accepted: usize,
    pub rejected: usize,
    pub unsupported: usize,
    /// Objects with an error.
    pub errors: usize,
    /// Maps that cannot be made.
    pub maps_rejected: usize,
    /// Maps that need a size or an inner map from the application.
    pub maps_unset: usize,
}

impl Summary {
    /// Counts the verdicts and errors of `objects`.
    pub fn of(objects: &[ObjectReport]) -> Summary {
        let mut s = Summary::default();
        for o in objects {
            s.errors += o.error.is_some() as usize;
            let maps = |v| o.maps.iter().filter(|m| m.verdict == v).count();
            s.maps_rejected += maps(MapVerdict::Rejected);
            s.maps_unset += maps(MapVerdict::Unset);
            for p in &o.programs {
                match p.verdict {
                    VerdictWord::Accepted => s.accepted += 1,
                    VerdictWord::Rejected => s.rejected += 1,
                    VerdictWord::Unsupported => s.unsupported += 1,
                }
            }
        }
        s
    }

    /// Exit status: 0 all accepted, 1 some rejected, 2 something not judged, a map that needs its size from the
    /// application, or nothing found.
    /// A program that could not be judged outweighs a rejection only in the sense that the run
    /// is not a pass; a rejection is reported as 1 whatever else happened.
    pub fn exit_code(self) -> u8 {
        if self.rejected > 0 || self.maps_rejected > 0 {
            1
        } else if self.unsupported > 0
            || self.errors > 0
            || self.maps_unset > 0
            || self.accepted == 0
        {
            2
        } else {
            0
        }
    }
}
