//! What the running kernel says about itself by loading, or not, programs of a few instructions:
//! features by their probes, helpers, program types.
//!
//! Loads and closes; attaches and pins nothing.  Where the kernel contradicts the tables, a note says so.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_spec::helper::func_id_name;
use bpfassay_spec::profile::RefusedType;
use bpfassay_spec::{
    AttachType, FeatureProbe, Kernel, ProgInfo, ProgKind, ProgType, ProtoLookup, Release,
};

use crate::kernel::{KernelError, LoadOptions, LoadOutcome, Session, Verdict, LOG_LEVEL1};

const EPERM: i32 = 1;

/// Everything asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answers {
    /// Features that have a probe.
    pub features: BTreeMap<&'static str, bool>,
    pub refused: Vec<RefusedType>,
    pub absent_helpers: BTreeSet<String>,
    /// Where tables and kernel differ.
    pub notes: Vec<String>,
}

/// Asks the running kernel; `tables` is what is expected of it.
pub fn ask(tables: &Kernel) -> Result<Answers, KernelError> {
    let features = features(tables)?;
    let mut notes = Vec::new();
    for (name, value) in tables.features.list() {
        if features.get(name).is_some_and(|asked| *asked != value) {
            notes.push(format!("feature {name}: the tables say {value}, the kernel {}", !value));
        }
    }
    let absent_helpers = absent_helpers(tables, &mut notes)?;
    Ok(Answers { features, refused: refused()?, absent_helpers, notes })
}

/// Assembles and loads; None where the text is not a program.
fn judge(
    session: &mut Session,
    prog_type: ProgType,
    attach: Option<AttachType>,
    text: &str,
) -> Result<Option<LoadOutcome>, KernelError> {
    let Ok(insns) = assemble(text, &NoNames) else { return Ok(None) };
    let options = LoadOptions { log_level: LOG_LEVEL1, max_log: 1 << 20 };
    session.judge(&bare(prog_type, attach, insns), &options).map(Some)
}

/// A program of nothing but instructions.
pub fn bare(prog_type: ProgType, attach: Option<AttachType>, insns: Vec<RawInsn>) -> Program {
    Program { expected_attach_type: attach, ..Program::bare("probe", prog_type, insns) }
}

/// Features by the probes that tell on a kernel of this release.
pub fn features(tables: &Kernel) -> Result<BTreeMap<&'static str, bool>, KernelError> {
    let release = Release::parse(&tables.release);
    let mut session = Session::new();
    let mut out = BTreeMap::new();
    for probe in FeatureProbe::all().iter().filter(|p| release.is_some_and(|r| r >= p.from)) {
        if let Some(outcome) = judge(&mut session, probe.prog_type, None, probe.text)? {
            out.insert(probe.feature, outcome.verdict == Verdict::Accepted);
        }
    }
    Ok(out)
}

/// Attach types that stand for a program type when one is asked about it.
fn attach_types(info: &ProgInfo) -> Vec<Option<AttachType>> {
    use AttachType::*;
    match info.prog_type {
        ProgType::Tracing => vec![
            Some(TraceRawTp),
            Some(TraceIter),
            Some(TraceFentry),
            Some(TraceFexit),
            Some(ModifyReturn),
        ],
        _ => match info.attach {
            [] => vec![None],
            some => some.iter().map(|a| Some(*a)).collect(),
        },
    }
}

/// Program types that are refused with EPERM and without a word, though others may be loaded.
pub fn refused() -> Result<Vec<RefusedType>, KernelError> {
    let mut session = Session::new();
    let mut out = Vec::new();
    for info in ProgInfo::all() {
        let mut rows = Vec::new();
        let asked = attach_types(info);
        for attach in &asked {
            let answer = judge(&mut session, info.prog_type, *attach, "r0 = 0\nexit\n")?;
            if answer.is_some_and(|o| o.errno == Some(EPERM) && o.log.is_empty()) {
                rows.push(RefusedType {
                    prog_type: info.prog_type.name().to_string(),
                    attach_type: attach.map(|a| a.name().to_string()),
                    errno: EPERM,
                });
            }
        }
        // Refused whatever the attach type: one row says so.
        if rows.len() == asked.len() {
            rows.truncate(1);
            rows.iter_mut().for_each(|r| r.attach_type = None);
        }
        out.append(&mut rows);
    }
    Ok(out)
}

/// Helpers that the tables allow and the kernel denies to every program type.  A helper that only
/// some types may call other than the tables say is a note: a profile cannot express it.
pub fn absent_helpers(
    kernel: &Kernel,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<String>, KernelError> {
    let mut session = Session::new();
    // Helper number to how often the tables and the kernel allowed it.
    let mut allowed: BTreeMap<i32, (u32, u32)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for info in ProgInfo::all() {
        for attach in attach_types(info) {
            let kind = ProgKind::new(info.prog_type, attach);
            if judge(&mut session, info.prog_type, attach, "r0 = 1\nexit\n")?
                .is_none_or(|o| o.verdict == Verdict::Rejected)
            {
                continue;
            }
            for id in kernel.helper_ids().skip(1) {
                let name = func_id_name(id);
                let text = format!("call {name}#{id}\nr0 = 1\nexit\n");
                let Some(outcome) = judge(&mut session, info.prog_type, attach, &text)? else {
                    continue;
                };
                let denied = outcome.log.contains("program of this type cannot use helper")
                    || outcome.log.contains("invalid func");
                let ours = matches!(kernel.helper_proto(&kind, id), ProtoLookup::Proto(_));
                let count = allowed.entry(id).or_default();
                count.0 += u32::from(ours);
                count.1 += u32::from(!denied);
                if ours == denied {
                    wrong.push((id, info.prog_type, ours));
                }
            }
        }
    }
    let is_absent =
        |id: &i32| allowed.get(id).is_some_and(|(ours, theirs)| *ours > 0 && *theirs == 0);
    for (id, prog_type, ours) in wrong.iter().filter(|(id, _, _)| !is_absent(id)) {
        let (tables, kernel) = if *ours { ("allow", "denies") } else { ("deny", "allows") };
        notes.push(format!(
            "helper {} in {prog_type} programs: the tables {tables} it, the kernel {kernel} it",
            func_id_name(*id)
        ));
    }
    let absent = allowed.keys().filter(|id| is_absent(id));
    Ok(absent.map(|id| func_id_name(*id).to_string()).collect())
}
