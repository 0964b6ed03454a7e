//! What a gate run found, as plain data: the stable machine form `bpfassay.gate/1` and all that the
//! report formats render.
//!
//! Order is part of the contract: kernels and variants as the configuration lists them, programs by
//! kernel, variant, object (path, `/` separated), then as the object lists them; findings by object,
//! program, kind and message.  Same inputs, same report, `verification_us` aside.

use serde::Serialize;

use bpfassay_judge::explain::Words;
use bpfassay_judge::{Flip, MapReport, ObjectError, ProgramReport, Source, VerdictWord};

/// Value of `schema`.
pub const SCHEMA: &str = "bpfassay.gate/1";

/// A whole gate run.
#[derive(Serialize, Clone, Debug)]
pub struct GateReport {
    pub schema: &'static str,
    /// `bpfassay` and its version.
    pub tool: String,
    /// Path of the configuration as the caller named it, `/` separated.
    pub config: String,
    /// Day the exceptions were judged on, `YYYY-MM-DD`.
    pub today: String,
    pub verdict: GateVerdict,
    /// Exit status of the command: see [`GateVerdict`]; 3 after an internal error.
    pub exit_code: u8,
    pub summary: GateSummary,
    /// In the order of the configuration.
    pub kernels: Vec<KernelJudged>,
    /// Names of the variants, in the order of the configuration; objects as built are no variant.
    pub variants: Vec<String>,
    /// Every finding, those covered by an exception included.
    pub findings: Vec<Finding>,
    /// Every exception of the configuration, in its order.
    pub exceptions: Vec<ExceptionApplied>,
    /// Null without a baseline in the configuration.
    pub baseline: Option<BaselineStatus>,
    pub objects: Vec<ObjectRead>,
    pub programs: Vec<ProgramRun>,
    /// The maps that a loader creates before any program, by kernel, variant and object.
    pub maps: Vec<MapRun>,
}

/// The answer of the gate.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum GateVerdict {
    /// Nothing stands against it: exit status 0.
    Pass,
    /// A rejection or a broken rule: exit status 1.
    Fail,
    /// Nothing failed, but something could not be judged: exit status 2.
    NotJudged,
}

impl GateVerdict {
    pub fn as_str(self) -> &'static str {
        match self {
            GateVerdict::Pass => "pass",
            GateVerdict::Fail => "fail",
            GateVerdict::NotJudged => "not-judged",
        }
    }
}

/// Counts over [`GateReport::programs`] and [`GateReport::findings`].
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GateSummary {
    pub objects: usize,
    /// Judgements, that is programs × kernels × variants.
    pub judged: usize,
    pub accepted: usize,
    pub rejected: usize,
    pub unsupported: usize,
    /// Objects that could not be read.
    pub unreadable: usize,
    /// Findings that no exception covers, by severity.
    pub errors: usize,
    pub warnings: usize,
    pub notes: usize,
    /// Findings covered by an exception.
    pub excepted: usize,
}

/// One kernel the objects were judged for.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct KernelJudged {
    /// As the configuration writes it (`6.18`, `profiles/fleet.json`); [`JudgedFor::kernel`] refers to it.
    pub label: String,
    /// Exact release, e.g. `6.18.44`.
    pub release: String,
    pub profile: String,
    /// SHA-256 of the kernel BTF used, hexadecimal; null without one.
    pub btf: Option<String>,
}

/// Kernel and variant a judgement holds for.
#[derive(Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct JudgedFor {
    /// [`KernelJudged::label`].
    pub kernel: String,
    /// Null for the object as built.
    pub variant: Option<String>,
}

/// One object that the configuration's globs found.
#[derive(Serialize, Clone, Debug)]
pub struct ObjectRead {
    /// Relative to the configuration's folder where it lies below it, `/` separated.
    pub path: String,
    /// Null for an object that was read.
    pub error: Option<ObjectError>,
    /// Names of its programs, in the object's order.
    pub programs: Vec<String>,
}

/// One judgement: a program on a kernel, in a variant.
#[derive(Serialize, Clone, Debug)]
pub struct ProgramRun {
    /// `object:program`, the same on every kernel, in every variant and from build to build;
    /// the second program of one name in an object gets `#2`.
    pub id: String,
    pub kernel: String,
    pub variant: Option<String>,
    /// [`ObjectRead::path`].
    pub object: String,
    /// What the gate makes of it.
    pub status: RunStatus,
    pub headroom: Headroom,
    #[serde(flatten)]
    pub program: ProgramReport,
}

/// One map of an object on a kernel, in a variant.
#[derive(Serialize, Clone, Debug)]
pub struct MapRun {
    pub kernel: String,
    pub variant: Option<String>,
    /// [`ObjectRead::path`].
    pub object: String,
    #[serde(flatten)]
    pub map: MapReport,
}

/// What the gate makes of one judgement.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    Pass,
    /// Some finding of severity error.
    Fail,
    /// It would fail or was not judged, but every such finding is covered by an exception or known to the baseline.
    Excepted,
    /// Unsupported, refused by the loader, or an internal error.
    NotJudged,
}

impl RunStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Pass => "pass",
            RunStatus::Fail => "fail",
            RunStatus::Excepted => "excepted",
            RunStatus::NotJudged => "not-judged",
        }
    }
}

/// How much of the kernel's limits a verdict used, and on what.
#[derive(Serialize, Clone, PartialEq, Debug, Default)]
pub struct Headroom {
    /// Instructions processed, of 1,000,000.
    pub insns: Used,
    /// Stack of the deepest chain of calls as the kernel counts it, of 512 bytes.
    pub stack: Used,
    /// The most expensive source lines, most expensive first; empty without line info.
    pub lines: Vec<LineCost>,
    /// The conditional jumps and calls met most often, most often first.
    pub branches: Vec<BranchCost>,
}

/// Part of a limit.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    pub used: u32,
    /// The kernel's limit.
    pub limit: u32,
    /// What the configuration allows of it; null without a budget.
    pub budget: Option<u32>,
}

impl Used {
    /// Of the limit, in percent; 0 where there is no limit.
    pub fn percent(self) -> f64 {
        share(self.used, self.limit)
    }

    /// Of the budget, in percent; None without a budget.
    pub fn percent_of_budget(self) -> Option<f64> {
        self.budget.map(|b| share(self.used, b))
    }
}

fn share(part: u32, of: u32) -> f64 {
    match of {
        0 => 0.0,
        of => f64::from(part) * 100.0 / f64::from(of),
    }
}

/// Instructions processed that belong to one source line.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct LineCost {
    pub source: Source,
    pub insns_processed: u32,
}

/// How often the verifier came to one branch.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct BranchCost {
    pub insn_idx: u32,
    /// The jump in the kernel's words.
    pub insn: String,
    pub source: Option<Source>,
    /// Times processed.
    pub visits: u32,
}

/// Something the reader of a build should know.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub kind: FindingKind,
    pub severity: Severity,
    /// [`ProgramRun::id`]; null for findings about an object or the configuration.
    pub id: Option<String>,
    /// [`ObjectRead::path`]; null for findings about the configuration.
    pub object: Option<String>,
    pub program: Option<String>,
    pub section: Option<String>,
    /// Every kernel and variant it was found on, in report order; empty for findings about the configuration.
    pub on: Vec<JudgedFor>,
    /// One line: what is wrong.
    pub message: String,
    /// What the baseline says of the program, for new rejections: `accepted in the baseline of 2026-11-20`.
    pub since: Option<String>,
    /// One line: what can be done; null where the message says all.
    pub help: Option<String>,
    /// Where the rejection comes from and what changes it, for rejections on a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Words>,
    /// The file with the page that tells it, where pages are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Stable code of the kernel's message, for rejections.
    pub code: Option<String>,
    /// The message block of the kernel's log, for rejections.
    pub kernel_words: Vec<String>,
    pub errno: Option<i32>,
    pub insn_idx: Option<u32>,
    /// The failing instruction in the kernel's words.
    pub insn: Option<String>,
    /// Place in the program's source.
    pub source: Option<Source>,
    /// Place in the configuration, for findings about it.
    pub config: Option<ConfigPlace>,
    /// Where another kernel of the configuration says otherwise of the rejected program, and why.
    pub flips: Vec<Turn>,
    /// Index into [`GateReport::exceptions`] of the exception that covers it; it then decides nothing.
    pub excepted_by: Option<usize>,
    /// What makes it the same finding in the next build: kind, object, program, code or masked message,
    /// source file and text of the line (no line number, kernel or variant).
    pub fingerprint_inputs: Vec<String>,
    /// SHA-256 of the inputs, hexadecimal.
    pub fingerprint: String,
}

/// A verdict that turns from one kernel of the configuration to the next, by age.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Exact release of the later kernel; [`Flip::against`] is the earlier one's.
    pub kernel: String,
    /// What the later kernel says.
    pub verdict: VerdictWord,
    #[serde(flatten)]
    pub flip: Flip,
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (takes, refuses) = match self.verdict {
            VerdictWord::Accepted => (&self.kernel, &self.flip.against),
            _ => (&self.flip.against, &self.kernel),
        };
        let Flip { by, kind, about, .. } = &self.flip;
        write!(f, "{takes} accepts it, {refuses} does not; what differs is {by} ({kind}): {about}")
    }
}

/// A place in the configuration file; line and column count from 1, the column in characters.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigPlace {
    pub line: u32,
    pub column: u32,
}

/// How much a finding weighs.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The gate does not pass.
    Error,
    Warning,
    Note,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Kinds of findings; the word of each is stable and serves as rule name.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The kernel would refuse the program, and there is no baseline.
    Rejected,
    /// The kernel would refuse it; the baseline has it accepted or does not know it.
    NewlyRejected,
    /// The kernel would refuse it, and the baseline says so (a note).
    KnownRejected,
    /// The baseline has it rejected, the kernel would take it now.
    NewlyAccepted,
    /// The program could not be judged.
    Unsupported,
    /// The object, or a program of it, could not be read or linked.
    Unreadable,
    /// The object holds no program.
    NoProgram,
    /// Our own mistake.
    Internal,
    /// The kernel would not make a map of the object, so nothing of it loads.
    MapRejected,
    /// A map lacks a size or inner map that the application must set, or could not be judged.
    MapUnset,
    /// More instructions, states or stack than its budget.
    BudgetExceeded,
    HelperNotAllowed,
    KfuncNotAllowed,
    ProgramTypeNotAllowed,
    LicenceNotAllowed,
    /// Costs more than the baseline by more than the threshold.
    CostDrift,
    /// Costs less than the baseline by more than the threshold.
    CostDrop,
    /// Not in the baseline.
    NewProgram,
    /// In the baseline, but not in the objects.
    RemovedProgram,
    /// An exception's day is over.
    ExceptionExpired,
    /// An exception or program rule names a program that is not there.
    UnknownProgram,
    /// An exception that covers nothing.
    ExceptionUnused,
}

impl FindingKind {
    /// Every kind, in the order of findings of one program.
    pub const ALL: [FindingKind; 22] = [
        FindingKind::Rejected,
        FindingKind::NewlyRejected,
        FindingKind::KnownRejected,
        FindingKind::NewlyAccepted,
        FindingKind::Unsupported,
        FindingKind::Unreadable,
        FindingKind::NoProgram,
        FindingKind::Internal,
        FindingKind::MapRejected,
        FindingKind::MapUnset,
        FindingKind::BudgetExceeded,
        FindingKind::HelperNotAllowed,
        FindingKind::KfuncNotAllowed,
        FindingKind::ProgramTypeNotAllowed,
        FindingKind::LicenceNotAllowed,
        FindingKind::CostDrift,
        FindingKind::CostDrop,
        FindingKind::NewProgram,
        FindingKind::RemovedProgram,
        FindingKind::ExceptionExpired,
        FindingKind::UnknownProgram,
        FindingKind::ExceptionUnused,
    ];

    /// The stable word, as in JSON.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// One sentence for lists of rules.
    pub fn title(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        use FindingKind as K;
        match self {
            K::Rejected => ("rejected", "The kernel would refuse the program."),
            K::NewlyRejected => {
                ("newly-rejected", "The kernel would refuse the program; the baseline does not.")
            }
            K::KnownRejected => {
                ("known-rejected", "The kernel would refuse the program, as the baseline says.")
            }
            K::NewlyAccepted => (
                "newly-accepted",
                "The kernel would take a program that the baseline has rejected.",
            ),
            K::Unsupported => ("unsupported", "The program could not be judged."),
            K::Unreadable => ("unreadable", "The object or program could not be read."),
            K::NoProgram => ("no-program", "The object holds no program."),
            K::Internal => ("internal", "Internal error of bpfassay."),
            K::MapRejected => ("map-rejected", "The kernel would not make a map of the object."),
            K::MapUnset => ("map-unset", "A map lacks what the application must set."),
            K::BudgetExceeded => ("budget-exceeded", "The program exceeds its budget."),
            K::HelperNotAllowed => ("helper-not-allowed", "The helper is not allowed."),
            K::KfuncNotAllowed => ("kfunc-not-allowed", "The kernel function is not allowed."),
            K::ProgramTypeNotAllowed => {
                ("program-type-not-allowed", "The program type is not allowed.")
            }
            K::LicenceNotAllowed => ("licence-not-allowed", "The licence is not allowed."),
            K::CostDrift => ("cost-drift", "The verdict costs more than in the baseline."),
            K::CostDrop => ("cost-drop", "The verdict costs less than in the baseline."),
            K::NewProgram => ("new-program", "The program is not in the baseline."),
            K::RemovedProgram => ("removed-program", "A program of the baseline is gone."),
            K::ExceptionExpired => ("exception-expired", "An exception has expired."),
            K::UnknownProgram => {
                ("unknown-program", "The configuration names a program that is not there.")
            }
            K::ExceptionUnused => ("exception-unused", "An exception covers nothing."),
        }
    }

    /// True for what an exception of the configuration may cover.
    pub fn may_be_excepted(self) -> bool {
        use FindingKind as K;
        !matches!(
            self,
            K::Internal
                | K::KnownRejected
                | K::NewlyAccepted
                | K::CostDrop
                | K::ExceptionExpired
                | K::UnknownProgram
                | K::ExceptionUnused
        )
    }

    /// True for findings about an object as a whole.
    pub fn is_about_object(self) -> bool {
        use FindingKind as K;
        matches!(self, K::Unreadable | K::NoProgram | K::MapRejected | K::MapUnset)
    }

    /// True for what was not judged, as opposed to judged and found wanting.
    pub fn is_not_judged(self) -> bool {
        use FindingKind as K;
        matches!(self, K::Unsupported | K::Unreadable | K::NoProgram | K::MapUnset)
    }
}

/// An exception of the configuration, and what became of it.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct ExceptionApplied {
    /// As configured: glob over objects, program, what it is about.
    pub object: Option<String>,
    pub program: String,
    /// `code …`, `message …` or `kind …`, as configured.
    pub about: String,
    pub reason: String,
    /// Last day it holds, `YYYY-MM-DD`.
    pub expires: String,
    pub expired: bool,
    pub config: ConfigPlace,
    /// Findings it covers.
    pub covers: usize,
}

/// How the run compares with the baseline file.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct BaselineStatus {
    /// Relative to the configuration's folder, `/` separated.
    pub path: String,
    /// Day it was taken, `YYYY-MM-DD`; null for one that did not exist before this run.
    pub taken: Option<String>,
    /// This run wrote it anew.
    pub updated: bool,
    /// Judgements compared.
    pub compared: usize,
    pub newly_rejected: usize,
    pub newly_accepted: usize,
    pub cost_drift: usize,
    pub new: usize,
    pub removed: usize,
}
