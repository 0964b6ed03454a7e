//! From a program to its line in the report.

use std::panic::{catch_unwind, AssertUnwindSafe};

use bpfassay_diag::explain;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{ProgFlags, Program};
use bpfassay_object::{Loader, MapOverride, ProgramOverride};
use bpfassay_spec::{AttachType, Caps, ProgType};
use bpfassay_verifier::log::insn::LogNames;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

use crate::report::{Detail, ObjectError, ProgramReport, ProgramStats, Source, VerdictWord};
use crate::target::{Entry, Target};

/// What the caller may change about how programs are loaded.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Flags added to the program's own.
    pub flags: ProgFlags,
    /// Types and attach targets that the application sets, in this order: of programs of a name, or of all.
    pub program_overrides: Vec<(Option<String>, ProgramOverride)>,
    /// Whose rules decide what becomes of the object before a kernel sees it.
    pub loader: Loader,
    /// Attributes of maps that the application sets before loading, by the map's name.
    pub map_overrides: Vec<(String, MapOverride)>,
    pub log_level: LogLevel,
    /// Tell of every rejection where it comes from and what would change it ([`crate::explain`]).
    pub explain: bool,
    /// Microseconds of a clock that never goes back, for `verification_us`; without it that field is 0.
    pub clock: Option<fn() -> u64>,
}

/// A program's report, and why it is not a verdict where it is none.
#[derive(Clone, Debug)]
pub struct Judged {
    pub report: ProgramReport,
    /// The loader's refusal, or an internal error.
    pub error: Option<ObjectError>,
}

impl Entry {
    /// Judges this program.  A panic in the verifier becomes an internal error, never a verdict.
    pub fn judge(&self, target: &Target, options: &Options) -> Judged {
        match &self.program {
            Ok(program) => judge_linked(program, target, options),
            Err(error) => {
                let code = explain::load_error(&error.kind).map(|c| c.name);
                let report = refused(&self.name, &self.section, &error.message);
                let served_by = self.served_by.clone();
                let report = ProgramReport { code, served_by, ..report };
                if error.is_absent() {
                    let (verdict, errno) = (VerdictWord::Rejected, Some(ESRCH));
                    let report = ProgramReport { verdict, errno, ..report };
                    return Judged { report, error: None };
                }
                Judged { report, error: Some(error.clone()) }
            }
        }
    }
}

/// Judges one linked program, as [`Entry::judge`].
pub fn judge_linked(program: &Program, target: &Target, options: &Options) -> Judged {
    match catch_unwind(AssertUnwindSafe(|| judge(program, target, options))) {
        Ok(report) => Judged { report, error: None },
        Err(cause) => {
            let error = ObjectError::internal(&*cause);
            Judged { report: unsupported(program, error.message.clone()), error: Some(error) }
        }
    }
}

/// With which libbpf refuses a program that needs what the kernel has not got.
const ESRCH: i32 = 3;

/// Most bytes of log kept for one program.
const LOG_LIMIT: usize = 256 << 20;

/// Judges one program.
pub fn judge(program: &Program, target: &Target, options: &Options) -> ProgramReport {
    let program = &with_options(program, options);
    let config = Config { log_level: options.log_level, log_limit: LOG_LIMIT, ..target.config() };
    if let Some(what) = program.missing.first() {
        return unsupported(program, format!("profile {} lacks {what}", target.profile));
    }
    let now = || options.clock.map_or(0, |clock| clock());
    let start = now();
    let report = verify(program, &config);
    let verification_us = now().saturating_sub(start);
    let lines: Vec<String> = report.message_lines.clone();
    let (verdict, errno, message) = match &report.verdict {
        Verdict::Accepted => (VerdictWord::Accepted, None, None),
        Verdict::Rejected(e) => (VerdictWord::Rejected, Some(e.0), lines.last().cloned()),
        Verdict::Unsupported(what) => (VerdictWord::Unsupported, None, Some(what.clone())),
    };
    let code = match &report.verdict {
        Verdict::Accepted => None,
        Verdict::Rejected(_) => {
            let row = explain::block(lines.iter().map(String::as_str));
            if report.lacking.is_some() {
                Some("policy-capability")
            } else if lines.is_empty() {
                Some(explain::NO_MESSAGE)
            } else {
                row.map(|c| c.name)
            }
        }
        Verdict::Unsupported(_) => Some(explain::NOT_JUDGED),
    };
    let insn_idx = report.insn_idx.filter(|_| verdict == VerdictWord::Rejected);
    let s = report.stats;
    // A story that cannot be told takes nothing from the verdict.
    let told = || crate::explain::explain(program, target, &Options::default());
    let explained = (options.explain && verdict == VerdictWord::Rejected)
        .then(|| catch_unwind(AssertUnwindSafe(told)).ok().flatten())
        .flatten();
    ProgramReport {
        verdict,
        errno,
        message,
        message_lines: lines,
        code,
        quirk: report.quirk,
        insn_idx,
        source: insn_idx.and_then(|i| source_of(program, i)),
        stats: ProgramStats {
            insns_processed: s.insns_processed,
            max_states_per_insn: s.max_states_per_insn,
            total_states: s.total_states,
            peak_states: s.peak_states,
            mark_read: s.mark_read,
            stack_depth: report.stack_depths.iter().sum(),
            verification_us,
        },
        detail: Detail {
            log: report.log,
            needs: report.lacking.or_else(|| code.and_then(|c| needed(program, &config, c))),
            insn_text: insn_idx.and_then(|i| insn_text(&program.insns, i)),
            notes: [&program.notes[..], &report.notes[..]].concat(),
            max_stack: report.max_stack,
            insn_visits: report.insn_visits,
            explanation: explained.map(Box::new),
        },
        ..blank(program)
    }
}

/// The first capability in this order, or pair of them, with which a program that was rejected is accepted.
const ONE_MORE: [(&str, Caps); 4] = [
    ("CAP_PERFMON", Caps { perfmon: true, ..Caps::NONE }),
    ("CAP_BPF", Caps { bpf: true, ..Caps::NONE }),
    ("CAP_BPF and CAP_PERFMON", Caps { bpf: true, perfmon: true, ..Caps::NONE }),
    ("CAP_NET_ADMIN", Caps { net_admin: true, ..Caps::NONE }),
];

fn needed(program: &Program, config: &Config<'_>, code: &str) -> Option<String> {
    let has = config.caps;
    if has == Caps::ALL {
        return None;
    }
    let accepts = |more: &Caps| {
        let caps = has.union(*more);
        let with = Config { caps, log_level: LogLevel::QUIET, ..config.clone() };
        caps != has && verify(program, &with).verdict == Verdict::Accepted
    };
    let (name, _) = ONE_MORE.iter().find(|(_, more)| accepts(more))?;
    let title = explain::by_name(code).map_or("the verifier refuses it otherwise", |c| c.title);
    Some(format!("this needs {name} because {title}"))
}

pub(crate) fn with_options(program: &Program, options: &Options) -> Program {
    let mut p = program.clone();
    let (f, add) = (&mut p.flags, &options.flags);
    f.strict_alignment |= add.strict_alignment;
    f.any_alignment |= add.any_alignment;
    f.test_rnd_hi32 |= add.test_rnd_hi32;
    f.test_state_freq |= add.test_state_freq;
    f.sleepable |= add.sleepable;
    f.xdp_has_frags |= add.xdp_has_frags;
    f.test_reg_invariants |= add.test_reg_invariants;
    p
}

fn blank(program: &Program) -> ProgramReport {
    ProgramReport {
        prog_type: program.prog_type.name(),
        attach_type: program.expected_attach_type.map(AttachType::name),
        insn_cnt: program.insns.len(),
        ..refused(&program.name, &program.section, "")
    }
}

/// A program that the loader would not hand to a kernel.
pub fn refused(name: &str, section: &str, why: &str) -> ProgramReport {
    ProgramReport {
        name: name.to_string(),
        section: section.to_string(),
        prog_type: ProgType::Unspec.name(),
        attach_type: None,
        insn_cnt: 0,
        verdict: VerdictWord::Unsupported,
        errno: None,
        message: Some(why.to_string()),
        message_lines: Vec::new(),
        code: None,
        quirk: None,
        served_by: None,
        insn_idx: None,
        source: None,
        stats: ProgramStats::default(),
        log: None,
        detail: Detail::default(),
    }
}

/// A program that was not judged, and why.
fn unsupported(program: &Program, why: String) -> ProgramReport {
    ProgramReport { message: Some(why), code: Some(explain::NOT_JUDGED), ..blank(program) }
}

/// Source line of an instruction: the last line record at or before it.
pub fn source_of(program: &Program, insn_idx: u32) -> Option<Source> {
    let lines = &program.line_info;
    let at = lines.partition_point(|l| l.insn_off <= insn_idx).checked_sub(1)?;
    let (line, btf) = (lines[at], program.btf.as_deref()?);
    Some(Source {
        file: btf.str(line.file_name_off).to_string(),
        line: line.line_col >> 10,
        text: btf.str(line.line_off).to_string(),
        column: line.line_col & 0x3ff,
    })
}

/// Text of one instruction in the kernel's words.
pub fn insn_text(insns: &[RawInsn], idx: u32) -> Option<String> {
    let insn = *insns.get(idx as usize)?;
    let next = insns.get(idx as usize + 1).copied();
    let names = LogNames { kernel: None, btfs: &[], may_leak_pointers: true };
    Some(bpfassay_isa::disasm::Text { insn, next, names: &names }.to_string())
}
