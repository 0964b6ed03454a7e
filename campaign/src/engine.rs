//! The campaign: batches of cases over all processors, tallied, written down, clustered and minimised.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bpfassay_judge::Target;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};
use rayon::prelude::*;

use crate::case::Case;
use crate::finding::Finding;
use crate::kernel::{Answer, Kernel, Question};
use crate::minimise::minimise;
use crate::oracle::{self, against, equal_lines, masked_message, Judged, Oracle};
use crate::report::{bucket, Cluster, Report, Tally};
use crate::source::Source;
use crate::store::{Batch, Head, Seen, Store};

/// Cases of one batch, where no kernel is asked.
pub const BATCH: u64 = 512;
/// Cases of one batch that is also put to kernels: a boot costs as much as thousands of programs.
pub const KERNEL_BATCH: u64 = 8192;
/// Findings of one kind that a batch keeps a case of.
const KEPT: u64 = 1;

/// What a campaign is to do.
pub struct Options {
    /// Served kernel that our verifier plays.
    pub kernel: String,
    pub seed: u64,
    pub oracles: Vec<String>,
    pub engines: Vec<String>,
    /// Ends when it is over; what is in flight is finished.
    pub time: Option<Duration>,
    /// Ends after so many cases, over all shards.
    pub programs: Option<u64>,
    pub jobs: usize,
    /// Cases of one batch; what a kill may cost.
    pub batch: u64,
    /// This shard, from 0, and how many there are.
    pub shard: (u64, u64),
    pub folder: Option<PathBuf>,
    /// Given instead of generated cases, each with a name.
    pub corpus: Vec<(String, Source)>,
}

/// What is told while it runs.
pub struct Progress<'a> {
    pub batch: &'a Batch,
    pub all: &'a Tally,
    pub findings: usize,
    pub elapsed: Duration,
}

/// Everything shared by the workers.
struct Shared<'o> {
    options: &'o Options,
    target: &'o Target,
    state: Mutex<State>,
    kernels: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

/// A kernel, and the served one that it should answer like, if that is not the campaign's.
struct Asked {
    kernel: Box<dyn Kernel>,
    target: Option<Target>,
}

impl Asked {
    fn new(kernel: Box<dyn Kernel>) -> Result<Asked, String> {
        let target = kernel.release().map(oracle::target).transpose()?;
        Ok(Asked { kernel, target })
    }
}

struct State {
    store: Option<Store>,
    own: Tally,
    all: Tally,
    seen: Vec<Seen>,
    notes: Vec<String>,
}

/// Runs a campaign, or goes on with one.
///
/// # Errors
/// A kernel that is not served, or a folder that cannot be used.
pub fn run(
    options: &Options,
    kernels: Vec<Box<dyn Kernel>>,
    each: &(dyn Fn(&Progress<'_>) + Sync),
) -> Result<Report, String> {
    let start = Instant::now();
    let target = oracle::target(&options.kernel)?;
    let (store, done) = open(options)?;
    let mut state = State {
        store,
        own: Tally::default(),
        all: Tally::default(),
        seen: Vec::new(),
        notes: Vec::new(),
    };
    for batch in done.values() {
        state.all.add(&batch.tally);
        state.seen.extend(batch.seen.iter().cloned());
    }
    let before = state.all.milliseconds;
    let done: BTreeSet<u64> = done.into_keys().collect();
    let state = Mutex::new(state);
    let kernels = kernels.into_iter().map(Asked::new).collect::<Result<_, _>>()?;
    let kernels = Mutex::new(kernels);
    let shared = Shared { options, target: &target, state, kernels, stop: AtomicBool::new(false) };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs)
        .build()
        .map_err(|e| e.to_string())?;
    let last = options.cases().map_or(u64::MAX, |n| n.div_ceil(options.batch));
    let (shard, shards) = options.shard;
    let numbers = (0..last).filter(|n| n % shards == shard && !done.contains(n));
    pool.install(|| {
        numbers.par_bridge().try_for_each(|number| {
            let is_over = options.time.is_some_and(|t| start.elapsed() >= t);
            if is_over || shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            shared.batch(number, start, each);
            Some(())
        })
    });
    let mut state = shared.state.into_inner().map_err(|_| "a worker broke down".to_string())?;
    state.own.milliseconds = start.elapsed().as_millis() as u64;
    state.all.milliseconds = before + state.own.milliseconds;
    let findings = clusters(options, &target, &state.seen);
    let mut report = Report::of(options.seed, &state.own, &state.all, findings);
    report.notes = state.notes;
    Ok(report)
}

/// The report of stores that are done, without going on.
pub fn merged(folders: &[PathBuf]) -> Result<Report, String> {
    let (head, batches) = crate::store::merge(folders)?;
    let mut all = Tally::default();
    let mut seen = Vec::new();
    for batch in batches.values() {
        all.add(&batch.tally);
        seen.extend(batch.seen.iter().cloned());
    }
    let findings = grouped(&seen).into_values().map(|s| cluster(s, String::new())).collect();
    Ok(Report::of(head.seed, &Tally::default(), &all, findings))
}

fn open(options: &Options) -> Result<(Option<Store>, BTreeMap<u64, Batch>), String> {
    let Some(folder) = &options.folder else { return Ok((None, BTreeMap::new())) };
    let head = Head {
        seed: options.seed,
        batch: options.batch,
        kernel: options.kernel.clone(),
        oracles: options.oracles.clone(),
        corpus: options.corpus.iter().map(|(name, _)| name.clone()).collect(),
    };
    let (store, done) = Store::open(folder, &head)?;
    Ok((Some(store), done))
}

impl Options {
    /// How many cases there are, if that is known.
    fn cases(&self) -> Option<u64> {
        match self.corpus.len() as u64 {
            0 => self.programs,
            n => Some(self.programs.map_or(n, |p| p.min(n))),
        }
    }

    /// The case of a number.
    pub fn case(&self, number: u64) -> Option<Case> {
        if self.corpus.is_empty() {
            return Some(Source::Seed { seed: self.seed, number }.case());
        }
        let (name, source) = self.corpus.get(number as usize)?;
        Some(Case { name: name.clone(), ..source.case() })
    }

    /// What kernels are to write: messages and statistics, or every instruction and state.
    fn log_level(&self) -> LogLevel {
        match self.oracles.iter().any(|o| o == "state") {
            true => LogLevel::LEVEL2,
            false => LogLevel::STATS,
        }
    }

    fn oracles(&self) -> Vec<Box<dyn Oracle>> {
        self.oracles.iter().filter_map(|name| oracle::named(name, &self.engines)).collect()
    }
}

impl Shared<'_> {
    fn batch(&self, number: u64, start: Instant, each: &(dyn Fn(&Progress<'_>) + Sync)) {
        let began = Instant::now();
        let asks_kernel = self.kernels.lock().is_ok_and(|k| !k.is_empty());
        let config = self.target.config();
        let mut batch = Batch { number, ..Batch::default() };
        let mut oracles = self.options.oracles();
        let end = self.options.cases().unwrap_or(u64::MAX);
        let numbers = number * self.options.batch..((number + 1) * self.options.batch).min(end);
        let mut for_kernels = Vec::new();
        let runs_first = self.options.oracles.iter().any(|o| o == "containment");
        for n in numbers {
            let Some(case) = self.options.case(n) else { continue };
            let judged = match runs_first {
                true => Judged::after_runs(&case, &config),
                false => Judged::new(&case, &config),
            };
            tally(&mut batch.tally, &judged);
            let found = look(&judged, &mut oracles, &mut batch.tally);
            batch.tally.executions += judged.executions();
            if let Some(finding) = found {
                note(&mut batch.seen, finding, n);
            }
            if asks_kernel {
                for_kernels.push((n, case));
            }
        }
        for oracle in &oracles {
            batch.tally.executions += oracle.executions();
            for (what, n) in oracle.counts() {
                batch.tally.count(oracle.name(), &what, n);
            }
        }
        if asks_kernel {
            self.ask_kernels(&for_kernels, &mut batch);
        }
        if self.stop.load(Ordering::Relaxed) && asks_kernel {
            // Half asked is not done.
            return;
        }
        batch.tally.milliseconds = 0;
        self.finish(batch, began, start, each);
    }

    fn ask_kernels(&self, cases: &[(u64, Case)], batch: &mut Batch) {
        let Ok(mut kernels) = self.kernels.lock() else { return };
        for asked in kernels.iter_mut() {
            let name = asked.kernel.name().to_string();
            if let Err(why) = self.ask(asked, &name, cases, batch) {
                // A kernel that stopped answering ends the run with what is known.
                self.stop.store(true, Ordering::Relaxed);
                if let Ok(mut state) = self.state.lock() {
                    state.notes.push(format!("{name}, batch {}: {why}", batch.number));
                }
                return;
            }
        }
    }

    /// Asks one kernel, and ourselves in its place.
    fn ask(
        &self,
        asked: &mut Asked,
        name: &str,
        cases: &[(u64, Case)],
        batch: &mut Batch,
    ) -> Result<(), String> {
        let level = self.options.log_level();
        let mut config = asked.target.as_ref().unwrap_or(self.target).config();
        config.log_level = level;
        let ours = |(_, case): &(u64, Case)| verify(&case.program, &config);
        let reports: Vec<_> = cases.iter().map(ours).collect();
        let questions = cases.iter().zip(&reports).map(|((_, c), r)| {
            let errno = match &r.verdict {
                Verdict::Rejected(e) => e.0,
                _ => 0,
            };
            let expected = Answer::verdict(errno, r.log.clone());
            Question { program: &c.program, log_level: level.0, expected }
        });
        let answers = asked.kernel.ask(&questions.collect::<Vec<_>>())?;
        let oracle = format!("verdict, {name}");
        for (((n, _), report), answer) in cases.iter().zip(&reports).zip(&answers) {
            if matches!(report.verdict, Verdict::Unsupported(_)) {
                batch.tally.count(&oracle, "unsupported", 1);
                continue;
            }
            if !answer.is_verdict() {
                batch.tally.count(&oracle, &format!("not compared: {}", answer.stage), 1);
                continue;
            }
            batch.tally.count(&oracle, "checked", 1);
            if level.is_level2() {
                let (all, equal) = equal_lines(&report.log, &answer.log);
                batch.tally.count(&oracle, "instructions", all);
                batch.tally.count(&oracle, "instructions before logs part", equal);
            }
            if let Some(finding) = against(report, answer, name) {
                batch.tally.count(&oracle, "findings", 1);
                batch.tally.count(&oracle, &format!("{}: {}", finding.oracle, finding.kind), 1);
                note(&mut batch.seen, finding, *n);
            }
        }
        Ok(())
    }

    fn finish(
        &self,
        mut batch: Batch,
        began: Instant,
        start: Instant,
        each: &(dyn Fn(&Progress<'_>) + Sync),
    ) {
        let Ok(mut state) = self.state.lock() else { return };
        batch.tally.milliseconds =
            began.elapsed().as_millis() as u64 / self.options.jobs.max(1) as u64;
        if let Some(store) = &mut state.store {
            if let Err(why) = store.add(&batch) {
                self.stop.store(true, Ordering::Relaxed);
                state.notes.push(why);
                return;
            }
        }
        state.own.add(&batch.tally);
        state.all.add(&batch.tally);
        state.seen.extend(batch.seen.iter().cloned());
        let findings = state.seen.len();
        each(&Progress { batch: &batch, all: &state.all, findings, elapsed: start.elapsed() });
    }
}

/// Asks the oracles until one sees something.
fn look(
    judged: &Judged<'_>,
    oracles: &mut [Box<dyn Oracle>],
    tally: &mut Tally,
) -> Option<Finding> {
    for oracle in oracles {
        tally.count(oracle.name(), "checked", 1);
        if let Some(finding) = oracle.check(judged) {
            tally.count(oracle.name(), "findings", 1);
            return Some(finding);
        }
    }
    None
}

fn tally(tally: &mut Tally, judged: &Judged<'_>) {
    tally.programs += 1;
    tally.with_map += u64::from(judged.case.has_map());
    let report = &judged.report;
    *tally.insns.entry(bucket(judged.case.program.insns.len() as u32)).or_default() += 1;
    *tally.processed.entry(bucket(report.stats.insns_processed)).or_default() += 1;
    match &report.verdict {
        Verdict::Accepted => tally.accepted += 1,
        Verdict::Unsupported(_) => tally.unsupported += 1,
        Verdict::Rejected(_) => {
            let message = masked_message(report.message().unwrap_or(""));
            *tally.rejections.entry(message).or_default() += 1;
        }
    }
}

fn note(seen: &mut Vec<Seen>, finding: Finding, number: u64) {
    let key = finding.key();
    let mut same = seen.iter_mut().filter(|s| s.finding.key() == key);
    match same.next() {
        Some(first) if KEPT == 1 => first.count += 1,
        _ => seen.push(Seen { finding, number, count: 1 }),
    }
}

/// By key, the earliest first.
fn grouped(seen: &[Seen]) -> BTreeMap<String, Vec<&Seen>> {
    let mut groups: BTreeMap<String, Vec<&Seen>> = BTreeMap::new();
    for s in seen {
        groups.entry(s.finding.key()).or_default().push(s);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|s| s.number);
    }
    groups
}

fn cluster(group: Vec<&Seen>, case: String) -> Cluster {
    let finding = &group[0].finding;
    Cluster {
        id: finding.id(),
        oracle: finding.oracle.clone(),
        kind: finding.kind.clone(),
        place: finding.place.clone(),
        detail: finding.detail.clone(),
        case,
        count: group.iter().map(|s| s.count).sum(),
    }
}

/// One entry for each key, its case minimised and written down.
fn clusters(options: &Options, target: &Target, seen: &[Seen]) -> Vec<Cluster> {
    let config = target.config();
    let of = |group: Vec<&Seen>| {
        let Some(folder) = &options.folder else { return cluster(group, String::new()) };
        let first = group[0];
        let file = folder.join("findings").join(format!("{}.asm", first.finding.id()));
        if !file.exists() {
            if let Some(case) = options.case(first.number) {
                let small = minimised(options, &config, case, &first.finding);
                let _ = write_case(&file, &small, &first.finding);
            }
        }
        cluster(group, file.to_string_lossy().into_owned())
    };
    grouped(seen).into_values().map(of).collect()
}

/// The smallest case with a finding of the same key; findings against kernels stay as they are, since asking
/// once more costs a boot.
fn minimised(options: &Options, config: &Config<'_>, case: Case, finding: &Finding) -> Case {
    if oracle::KERNEL_NAMES.contains(&finding.oracle.as_str()) {
        return case;
    }
    let Some(mut oracle) = oracle::named(&finding.oracle, &options.engines) else { return case };
    let mut is_seen = |c: &Case| {
        let judged = Judged::new(c, config);
        oracle.check(&judged).is_some_and(|f| f.kind == finding.kind)
    };
    if !is_seen(&case) {
        return case;
    }
    minimise(&case, &mut is_seen)
}

/// A file that `bpfassay asm` reads, and what it is about.
fn write_case(file: &Path, case: &Case, finding: &Finding) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = String::new();
    let hex = |b: &[u8]| b.iter().map(|v| format!("{v:02x}")).collect::<String>();
    for line in [
        format!("{}: {}", finding.oracle, finding.kind),
        format!("where: {}", finding.place),
        finding.detail.clone(),
        format!("from: {}", case.name),
        format!("type: {}", case.program.prog_type),
    ] {
        text.push_str(&format!("; {line}\n"));
    }
    for map in case.program.maps.iter() {
        let (ty, n) = (map.map_type, map.max_entries);
        text.push_str(&format!(
            "; map: {ty:?} key {} value {} entries {n}\n",
            map.key_size, map.value_size
        ));
    }
    for input in &case.inputs {
        text.push_str(&format!("; input: data {} ctx {}\n", hex(&input.data), hex(&input.ctx)));
    }
    text.push_str(&case.text());
    fs::write(file, text)
}
