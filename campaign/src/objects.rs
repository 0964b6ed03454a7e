//! Programs of objects on every engine: each accepted one on handmade inputs, one after the other on the same maps,
//! held against the checking interpreter.
//!
//! The running kernel may be one of the engines, since objects are somebody's, not random: a program is loaded and
//! test-run, never attached.  What differs for a reason is in a list ([`Reasons`]).

use std::time::Instant;

use bpfassay_harness::contain::Limits;
use bpfassay_harness::kernel::stay_on_cpu;
use bpfassay_harness::oracle::agreement::{with_kernel, Agreement};
use bpfassay_harness::oracle::packets::inputs;
use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::session::{self, Answer, EngineKind, Failed, Job, Run, Subject};
use bpfassay_harness::trust::{self, Distrust, Trusted};
use bpfassay_judge::Target;
use bpfassay_object::model::Program;
use bpfassay_object::Object;

use crate::finding::Finding;
use crate::report::{bucket, Cluster, Report, Tally};

const ORACLE: &str = "agreement";

/// Who is asked, and what is known.
pub struct Options {
    /// Beside the checking interpreter.
    pub engines: Vec<EngineKind>,
    /// By `ENGINE OBJECT PROGRAM`, the object without the folder of its instruction set (`v3/`).
    pub reasons: Reasons,
    pub limits: Limits,
}

/// How an engine's answer stands to the interpreter's.
enum Compared {
    Agree,
    /// Not modelled by one of them, or not the program's doing.
    Not(String),
    Differ(String),
}

/// Runs the programs of these objects, each with a name and its bytes.
pub fn agree(
    options: &Options,
    target: &Target,
    objects: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Report {
    let start = Instant::now();
    // Values of one CPU, and what a program says of it, are then those of one CPU throughout.
    let _ = stay_on_cpu();
    let mut asked = Asked { options, target, tally: Tally::default(), findings: Vec::new() };
    let mut notes = Vec::new();
    for (label, bytes) in objects {
        match target.load_object(&bytes, &label) {
            Ok(object) => asked.object(&label, &object),
            Err(why) => notes.push(format!("{label}: {}", why.message)),
        }
    }
    let Asked { mut tally, findings, .. } = asked;
    tally.milliseconds = start.elapsed().as_millis() as u64;
    let mut report = Report::of(0, &tally, &tally, findings);
    let unused = |k: &EngineKind| options.reasons.unused(&format!("{} ", k.name()));
    let unused = options.engines.iter().flat_map(unused);
    notes.extend(
        unused.map(|name| format!("the list of reasons names {name}, which did not happen")),
    );
    report.notes = notes;
    report
}

struct Asked<'o> {
    options: &'o Options,
    target: &'o Target,
    tally: Tally,
    findings: Vec<Cluster>,
}

impl Asked<'_> {
    fn object(&mut self, label: &str, object: &Object) {
        for entry in &object.programs {
            let Ok(program) = &entry.program else { continue };
            let others: Vec<&Program> =
                object.programs.iter().filter_map(|e| e.program.as_ref().ok()).collect();
            self.tally.programs += 1;
            self.tally.with_map += u64::from(!program.maps.is_empty());
            *self.tally.insns.entry(bucket(program.insns.len() as u32)).or_default() += 1;
            let config = self.target.config();
            match trust::verify_all(program, &others, &object.map_slots, &config) {
                Ok(trusted) => self.program(label, object, program, others, &trusted),
                Err(Distrust::Rejected { message, .. }) => {
                    let message = crate::oracle::masked_message(&message);
                    *self.tally.rejections.entry(message).or_default() += 1;
                }
                Err(_) => self.tally.unsupported += 1,
            }
        }
    }

    fn program(
        &mut self,
        label: &str,
        object: &Object,
        program: &Program,
        others: Vec<&Program>,
        trusted: &[Trusted<'_>],
    ) {
        self.tally.accepted += 1;
        self.tally.count(ORACLE, "checked", 1);
        let mut world = World::seeded(1);
        world.kernel.vmlinux = self.target.vmlinux.clone();
        let job = Job {
            subject: Subject::Program { program, others, slots: &object.map_slots },
            inputs: inputs(program.prog_type),
            preload: Vec::new(),
            world: world.clone(),
            keeps_output: true,
            dump_maps: true,
            trace: false,
            limits: self.options.limits,
        };
        let interp = answer(&job, EngineKind::Interp, trusted);
        for kind in &self.options.engines {
            let mut compared = match (&interp, answer(&job, *kind, trusted)) {
                (Ok(a), Ok(b)) => {
                    self.tally.executions += b.runs.len() as u64;
                    compare(a, &b)
                }
                (Err(why), _) => Compared::Not(why.clone()),
                (_, Err(why)) => Compared::Not(why),
            };
            let is_alone = object.map_slots.iter().all(Vec::is_empty);
            if *kind == EngineKind::Kernel && matches!(compared, Compared::Agree) && is_alone {
                compared = maps_beside_kernel(program, &job, world.clone());
            }
            self.note(*kind, label, &program.name, compared);
        }
    }

    fn note(&mut self, kind: EngineKind, label: &str, program: &str, compared: Compared) {
        let engine = kind.name();
        // The builds of an object differ for one reason.
        let object = label.split_once('/').filter(|(set, _)| is_instruction_set(set));
        let object = object.map_or(label, |(_, object)| object);
        let place = format!("{engine} {object} {program}");
        let what = match compared {
            Compared::Agree => format!("{engine}: as the interpreter"),
            Compared::Not(why) => format!("{engine}: not compared: {why}"),
            Compared::Differ(detail) => match self.options.reasons.of(&place) {
                Some(_) => format!("{engine}: otherwise for a listed reason"),
                None => {
                    self.tally.count(ORACLE, "findings", 1);
                    self.found(label, place, detail);
                    format!("{engine}: otherwise")
                }
            },
        };
        self.tally.count(ORACLE, &what, 1);
    }

    fn found(&mut self, label: &str, place: String, detail: String) {
        let kind = "engines differ".to_string();
        let finding = Finding { oracle: ORACLE.to_string(), kind, place, detail };
        self.findings.push(Cluster {
            id: finding.id(),
            oracle: finding.oracle,
            kind: finding.kind,
            place: finding.place,
            detail: finding.detail,
            case: label.to_string(),
            count: 1,
        });
    }
}

/// A folder's name like `v3`.
fn is_instruction_set(folder: &str) -> bool {
    folder.strip_prefix('v').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

fn answer(job: &Job<'_>, kind: EngineKind, trusted: &[Trusted<'_>]) -> Result<Answer, String> {
    session::run(job, kind, Ok(trusted)).map_err(|e| match e {
        Failed::Rejected(errno) => format!("rejected with errno {errno}"),
        Failed::Unavailable(why) | Failed::Wrong(why) => why,
    })
}

fn compare(interp: &Answer, other: &Answer) -> Compared {
    // A child that crashed, or stopped for its time, makes no further runs.
    let cut = other.runs.last().and_then(|r| r.trap.as_ref()).is_some_and(|t| t.insn_idx.is_none());
    if interp.runs.len() != other.runs.len() && !cut {
        return Compared::Differ(format!("{} of {} runs", other.runs.len(), interp.runs.len()));
    }
    let mut not = None;
    for (i, (a, b)) in interp.runs.iter().zip(&other.runs).enumerate() {
        // What the kernel says of a program tells more than what we lack.
        let open = [b, a].into_iter().filter_map(|r| r.trap.as_ref()).find(|t| !t.is_comparable);
        match (open, a.agrees(b)) {
            (None, Some(true)) => {}
            (None, _) => {
                return Compared::Differ(format!(
                    "input {i}: interp {}, {}",
                    show(a, b),
                    show(b, a)
                ))
            }
            (Some(t), _) => {
                let why = t.detail.split_once(": ").map_or(&*t.detail, |(_, why)| why);
                not = Some(why.to_string());
            }
        }
    }
    match (not, &interp.maps, &other.maps) {
        (Some(why), ..) => Compared::Not(why),
        (None, Some(a), Some(b)) if a != b => Compared::Differ("other maps".to_string()),
        _ => Compared::Agree,
    }
}

/// A run, with what of its output is not as the other's.
fn show(run: &Run, other: &Run) -> String {
    let hex = |b: &Option<Vec<u8>>| {
        let b = b.as_deref().unwrap_or_default();
        b.iter().map(|v| format!("{v:02x}")).collect::<String>()
    };
    let differs = |a: &Option<Vec<u8>>, b: &Option<Vec<u8>>| {
        a.as_deref().unwrap_or_default() != b.as_deref().unwrap_or_default()
    };
    let mut out = run.answer();
    if differs(&run.data_out, &other.data_out) {
        out += &format!(" data {}", hex(&run.data_out));
    }
    if differs(&run.ctx_out, &other.ctx_out) {
        out += &format!(" ctx {}", hex(&run.ctx_out));
    }
    out
}

/// The maps after a run of both, element by element; a session asks the kernel for none.
fn maps_beside_kernel(program: &Program, job: &Job<'_>, world: World) -> Compared {
    match with_kernel(program, &job.inputs, world) {
        Agreement::Agree(_) => Compared::Agree,
        Agreement::NotCompared(why) => Compared::Differ(why),
        Agreement::Differ { reference, other, .. } => {
            Compared::Differ(format!("interp {other}, kernel {reference}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_an_object_agree_on_the_engines_of_this_host() {
        let target = crate::oracle::target("6.18.44").expect("a kernel that is served");
        let bytes = std::fs::read("../corpus/objects/v3/xdp/token_bucket.o").expect("an object");
        let mut engines = EngineKind::of_this_host();
        engines.retain(|k| !matches!(k, EngineKind::Interp | EngineKind::Kernel));
        let reasons = Reasons::parse("x86 xdp/other.o limit: none").expect("a list");
        let options = Options { engines, reasons, limits: Limits::default() };
        let name = "v3/xdp/token_bucket.o".to_string();
        let report = agree(&options, &target, [(name, bytes)]);
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert!(report.accepted > 0 && report.executions > 0);
        let counts = &report.oracles[ORACLE];
        assert_eq!(counts["interp-unchecked: as the interpreter"], report.accepted);
        // An entry that nothing needed is as wrong as a difference without one.
        #[cfg(target_arch = "x86_64")]
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    }

    #[test]
    fn a_difference_needs_a_reason() {
        let target = crate::oracle::target("6.18.44").expect("a kernel that is served");
        let reasons = Reasons::parse("kernel a.o p: the clock").expect("a list");
        let options = Options { engines: Vec::new(), reasons, limits: Limits::default() };
        let (target, tally) = (&target, Tally::default());
        let mut asked = Asked { options: &options, target, tally, findings: Vec::new() };
        for (label, program) in [("v4/a.o", "p"), ("v4/a.o", "q")] {
            let differ = Compared::Differ("input 0: 1, 2".to_string());
            asked.note(EngineKind::Kernel, label, program, differ);
        }
        assert_eq!(asked.findings.len(), 1);
        assert_eq!(asked.findings[0].place, "kernel a.o q");
        assert!(options.reasons.unused("kernel ").is_empty());
    }
}
