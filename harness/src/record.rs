//! Records what the running kernel says of every program of an object.
//!
//! Each program is loaded alone, as the verifier judges it; nothing is attached or kept.

use bpfassay_corpus::truth::{Answer, ObjectTruth, ProgramTruth, StatsTruth, SCHEMA};
use bpfassay_diag::log::{message, message_lines, Stats};
use bpfassay_object::model::Program;
use bpfassay_object::{Entry, LoadError, LoadErrorKind, Object, Opened};
use bpfassay_spec::{AttachType, ProgType};

use crate::kernel::{Host, KernelError, LoadOptions, LoadOutcome, Session, Verdict, LOG_STATS};

/// A running kernel ready to answer.
pub struct Recorder {
    session: Session,
    host: Host,
    options: LoadOptions,
    untyped: Option<(ProgType, Option<AttachType>)>,
}

impl Recorder {
    /// Reads the running kernel's facts.
    pub fn new(options: LoadOptions) -> Result<Recorder, KernelError> {
        Ok(Recorder { session: Session::new(), host: Host::read()?, options, untyped: None })
    }

    /// Programs whose section says no type get this one, as their own loader would set it (`bpf_program__set_type`).
    pub fn untyped_as(&mut self, prog_type: ProgType, attach_type: Option<AttachType>) {
        self.untyped = Some((prog_type, attach_type));
    }

    /// Exact release of the kernel that answers.
    pub fn release(&self) -> &str {
        &self.host.release
    }

    /// Asks about every program of the object in `bytes`; `label` is its path in the record.
    ///
    /// An error means the kernel does not answer at all; what concerns one program stands in its record.
    pub fn object(&mut self, bytes: &[u8], label: &str) -> Result<ObjectTruth, KernelError> {
        let mut truth = ObjectTruth {
            schema: SCHEMA.to_owned(),
            release: self.host.release.clone(),
            object: label.to_owned(),
            hash: ObjectTruth::hash_of(bytes),
            error: None,
            programs: Vec::new(),
        };
        match self.link(bytes, label) {
            Err(e) => truth.error = Some(e.to_string()),
            Ok(object) => {
                for entry in &object.programs {
                    truth.programs.push(self.entry(entry)?);
                }
            }
        }
        Ok(truth)
    }

    fn link(&self, bytes: &[u8], label: &str) -> Result<Object, LoadError> {
        let mut opened = Opened::parse(bytes, label)?;
        let object = self.host.with_target(|t| opened.link(t));
        let Some((prog_type, attach_type)) = self.untyped else { return Ok(object) };
        let untyped =
            |e: &&Entry| matches!(&e.program, Err(e) if e.kind == LoadErrorKind::ProgType);
        let names: Vec<&str> =
            object.programs.iter().filter(untyped).map(|e| e.name.as_str()).collect();
        if names.is_empty() {
            return Ok(object);
        }
        for name in names {
            opened.set_type(name, prog_type, attach_type);
        }
        Ok(self.host.with_target(|t| opened.link(t)))
    }

    /// Asks twice: for the statistics, whose time is then free of printing, and for the log.  The second is left
    /// out where it would hardly fit, because a kernel takes a minute to print a log of a million instructions.
    fn ask(&mut self, p: &Program) -> Result<LoadOutcome, KernelError> {
        let brief = self.session.judge(p, &LoadOptions { log_level: LOG_STATS, ..self.options })?;
        let insns = brief.stats.map_or(0, |s| s.insns_processed as usize);
        if insns.saturating_mul(USUAL_BYTES_PER_INSN) > self.options.max_log {
            return Ok(brief);
        }
        let full = self.session.judge(p, &self.options)?;
        Ok(LoadOutcome { stats: brief.stats.or(full.stats), ..full })
    }

    fn entry(&mut self, entry: &Entry) -> Result<ProgramTruth, KernelError> {
        match &entry.program {
            Err(e) => Ok(not_asked(entry, None, e.to_string())),
            Ok(p) if !p.missing.is_empty() => Ok(not_asked(entry, Some(p), p.missing.join("; "))),
            Ok(p) => match self.ask(p) {
                Ok(outcome) => Ok(asked(entry, p, outcome)),
                Err(e @ (KernelError::Unavailable | KernelError::NotPermitted)) => Err(e),
                Err(e) => Ok(not_asked(entry, Some(p), e.to_string())),
            },
        }
    }
}

/// A level-2 log usually takes more bytes than this per instruction processed.
const USUAL_BYTES_PER_INSN: usize = 70;

fn asked(entry: &Entry, p: &Program, outcome: LoadOutcome) -> ProgramTruth {
    let rejected = outcome.verdict == Verdict::Rejected;
    let words = |log| if rejected { message(log).map(str::to_owned) } else { None };
    ProgramTruth {
        answer: match outcome.verdict {
            Verdict::Accepted => Answer::Accepted,
            Verdict::Rejected => Answer::Rejected { errno: outcome.errno.unwrap_or(0) },
        },
        message: words(&outcome.log),
        message_lines: match rejected {
            true => message_lines(&outcome.log).into_iter().map(str::to_owned).collect(),
            false => Vec::new(),
        },
        stats: outcome.stats.as_ref().map(stats),
        log_level: outcome.log_level,
        log: outcome.log,
        ..not_asked(entry, Some(p), String::new())
    }
}

fn not_asked(entry: &Entry, p: Option<&Program>, why: String) -> ProgramTruth {
    ProgramTruth {
        name: entry.name.clone(),
        section: entry.section.clone(),
        prog_type: p.map(|p| p.prog_type.name().to_owned()),
        attach_type: p.and_then(|p| p.expected_attach_type).map(|t| t.name().to_owned()),
        insn_cnt: p.map_or(0, |p| p.insns.len() as u32),
        answer: Answer::NotAsked { why },
        message: None,
        message_lines: Vec::new(),
        stats: None,
        log_level: 0,
        log: String::new(),
    }
}

fn stats(s: &Stats) -> StatsTruth {
    StatsTruth {
        insns_processed: s.insns_processed,
        max_states_per_insn: s.max_states_per_insn,
        total_states: s.total_states,
        peak_states: s.peak_states,
        mark_read: s.mark_read,
        stack_depth: s.stack_depth,
        verification_us: s.verification_us,
    }
}
