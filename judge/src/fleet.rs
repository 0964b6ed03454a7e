//! The same programs on several kernels, and why their answers differ.
//!
//! Where two neighbours disagree, single differences between them are taken over until the smallest set of them turns
//! the verdict: what is left is the cause.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::Opened;
use bpfassay_spec::Difference;
use serde::Serialize;

use crate::program::Options;
use crate::report::{ObjectError, ObjectReport, ProgramReport, VerdictWord};
use crate::target::{open, Entry, Linked, Target};

/// Value of `schema`.
pub const FLEET_SCHEMA: &str = "bpfassay.fleet/1";

/// Instructions that the search for one cause may have processed in all; beyond, the kind of cause is named.
const SEARCH_BUDGET: u64 = 20_000_000;

/// Programs by kernels.
#[derive(Serialize, Debug)]
pub struct FleetReport {
    pub schema: &'static str,
    /// Exact releases ([`Target::label`]), in the order of the cells.
    pub kernels: Vec<String>,
    pub programs: Vec<FleetProgram>,
    /// Objects that could not be read.
    pub unread: Vec<Unread>,
}

/// An object that could not be read.
#[derive(Serialize, Debug)]
pub struct Unread {
    pub object: String,
    pub error: ObjectError,
}

/// One program on every kernel.
#[derive(Serialize, Debug)]
pub struct FleetProgram {
    pub object: String,
    pub name: String,
    pub cells: Vec<Cell>,
}

/// One program on one kernel.
#[derive(Serialize, Clone, Debug)]
pub struct Cell {
    /// Exact release ([`Target::label`]).
    pub kernel: String,
    pub verdict: VerdictWord,
    /// The kernel's last words, or why there is no verdict.
    pub message: Option<String>,
    pub insns_processed: u32,
    /// Why the verdict is not that of the kernel before.
    pub flip: Option<Flip>,
}

/// What turned a verdict between two kernels.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Flip {
    /// The kernel that says otherwise: the nearest before in the list that was judged.
    pub against: String,
    /// The smallest set of differences that turns the verdict, by name, joined by ` + `.
    pub by: String,
    /// `behaviour`, `fact`, `type` or `configuration`: of the first of them.
    pub kind: &'static str,
    /// For people: what differs and which releases have it.
    #[serde(skip)]
    pub about: String,
    /// [`Flip::about`], the instruction and line it bites on, and the kernel's words.
    pub text: String,
}

/// Kernels to be asked together.
pub struct Fleet {
    targets: Vec<Target>,
}

impl Fleet {
    /// Kernels in the order in which neighbours are compared: oldest first.
    pub fn new(targets: Vec<Target>) -> Fleet {
        Fleet { targets }
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Judges every program of an object on every kernel, one after the other.
    ///
    /// # Errors
    /// An object that cannot be read.
    pub fn judge(
        &self,
        bytes: &[u8],
        path: &str,
        options: &Options,
    ) -> Result<Vec<FleetProgram>, ObjectError> {
        let opened = open(bytes, path, options)?;
        let columns: Vec<_> =
            self.targets.iter().map(|t| self.column(&opened, path, t, options)).collect();
        Ok(self.rows(&opened, path, &columns, options))
    }

    /// One kernel's answers to an object.
    pub fn column(
        &self,
        opened: &Opened,
        path: &str,
        target: &Target,
        options: &Options,
    ) -> Vec<ProgramReport> {
        let Linked { entries, maps } = target.link_alone(opened);
        let judged = entries.iter().map(|e| e.judge(target, options)).collect();
        ObjectReport::of(path, maps, judged).programs
    }

    /// An object's programs from the answers of all kernels, in their order, with the cause of every flip.
    pub fn rows(
        &self,
        opened: &Opened,
        path: &str,
        columns: &[Vec<ProgramReport>],
        options: &Options,
    ) -> Vec<FleetProgram> {
        let programs = columns.first().map_or(0, Vec::len);
        (0..programs).filter_map(|nth| self.row(opened, path, columns, nth, options)).collect()
    }

    fn row(
        &self,
        opened: &Opened,
        path: &str,
        columns: &[Vec<ProgramReport>],
        nth: usize,
        options: &Options,
    ) -> Option<FleetProgram> {
        let answers: Vec<(&Target, &ProgramReport)> =
            self.targets.iter().zip(columns).filter_map(|(t, c)| Some((t, c.get(nth)?))).collect();
        let (_, first) = answers.first()?;
        let mut cells: Vec<Cell> = answers.iter().map(|(t, report)| cell(t, report)).collect();
        for (at, flip) in flips(opened, nth, &answers, options) {
            cells[at].flip = Some(flip);
        }
        Some(FleetProgram { object: path.to_string(), name: first.name.clone(), cells })
    }
}

/// Where a program's verdict turns from one kernel to the next that has one, and why: place of the later kernel and
/// the cause.  `answers` are in the order in which kernels are compared, oldest first.
pub fn flips(
    opened: &Opened,
    nth: usize,
    answers: &[(&Target, &ProgramReport)],
    options: &Options,
) -> Vec<(usize, Flip)> {
    let judged =
        |(_, (_, r)): &(usize, &(&Target, &ProgramReport))| r.verdict != VerdictWord::Unsupported;
    let judged: Vec<_> = answers.iter().enumerate().filter(judged).collect();
    let turned = judged.windows(2).filter_map(|pair| match pair {
        [(_, old), (at, new)] if old.1.verdict != new.1.verdict => Some((*at, *old, *new)),
        _ => None,
    });
    turned
        .map(|(at, old, new)| {
            let search = Search {
                opened,
                nth,
                old: old.0,
                new: new.0,
                wanted: old.1.verdict,
                code: old.1.code,
                options,
            };
            let rejects = if old.1.verdict == VerdictWord::Rejected { old } else { new };
            (at, search.run(rejects.0, rejects.1))
        })
        .collect()
}

fn cell(target: &Target, report: &ProgramReport) -> Cell {
    Cell {
        kernel: target.label(),
        verdict: report.verdict,
        message: report.message.clone(),
        insns_processed: report.stats.insns_processed,
        flip: None,
    }
}

/// One thing that two targets have differently.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cause {
    Kernel(Difference),
    /// Types, functions and variables of kernel and modules; the function that the program calls, where it is one.
    Types(Option<String>),
    /// A configuration value, without `CONFIG_`.
    Config(String),
    /// `LINUX_KERNEL_VERSION`.
    Version,
}

impl Cause {
    fn kind(&self) -> &'static str {
        match self {
            Cause::Kernel(d) => d.kind(),
            Cause::Types(_) => "type",
            Cause::Config(_) => "configuration",
            Cause::Version => "fact",
        }
    }

    fn name(&self) -> String {
        match self {
            Cause::Kernel(d) => d.name(),
            Cause::Types(function) => function.clone().unwrap_or_else(|| "types".to_string()),
            Cause::Config(name) => format!("CONFIG_{name}"),
            Cause::Version => "LINUX_KERNEL_VERSION".to_string(),
        }
    }

    fn about(&self) -> String {
        match self {
            Cause::Kernel(d) => match d.span().map(|s| s.describe()).filter(|s| !s.is_empty()) {
                Some(history) => format!("{} ({history})", d.about().trim_end_matches('.')),
                None => d.about().trim_end_matches('.').to_string(),
            },
            Cause::Types(Some(function)) => format!("the kernel function {function}"),
            Cause::Types(None) => {
                "a type, function or variable that only one of the kernels has, or has otherwise"
                    .to_string()
            }
            Cause::Config(name) => format!("the option CONFIG_{name}"),
            Cause::Version => "the program asks which release it runs on".to_string(),
        }
    }

    /// Causes of one group are tried together before they are tried one by one.
    fn group(&self) -> usize {
        match self {
            Cause::Kernel(Difference::Feature(_)) => 0,
            Cause::Kernel(Difference::Row(_) | Difference::Absent(_)) => 1,
            Cause::Kernel(Difference::Limit(_)) => 2,
            Cause::Kernel(Difference::Jit(_)) => 3,
            Cause::Kernel(Difference::Config(_)) | Cause::Config(_) => 4,
            Cause::Types(_) | Cause::Kernel(Difference::Symbols) => 5,
            Cause::Kernel(Difference::Cpus) => 6,
            Cause::Version => 7,
        }
    }
}

const GROUPS: usize = 8;

/// For the set of differences that makes the new kernel answer as the old one.
struct Search<'a> {
    opened: &'a Opened,
    /// Place of the program in the object.
    nth: usize,
    old: &'a Target,
    new: &'a Target,
    /// The old kernel's verdict, and the code of its reason to reject.
    wanted: VerdictWord,
    code: Option<&'static str>,
    options: &'a Options,
}

impl Search<'_> {
    fn run(&self, target: &Target, rejected: &ProgramReport) -> Flip {
        let mut spent = 0;
        let mut causes = self.smallest(&mut spent);
        if causes.is_empty() && self.code.is_some() {
            // The same reason cannot be had: another one will do.
            causes = Search { code: None, ..*self }.smallest(&mut spent);
        }
        for cause in &mut causes {
            if let Cause::Types(function) = cause {
                *function = self.function(rejected).map(str::to_string);
            }
        }
        let kind = causes.first().map_or("behaviour", Cause::kind);
        let names: Vec<String> = match causes.len() {
            0 => vec!["unknown".to_string()],
            1..=8 => causes.iter().map(Cause::name).collect(),
            n => vec![format!("{n} differences of {kind}")],
        };
        let about = match causes.as_slice() {
            [] => "no set of differences that we can tell apart turns the verdict".to_string(),
            few => few.iter().take(4).map(Cause::about).collect::<Vec<_>>().join("; "),
        };
        let text = format!("{about}{}", bites(target, rejected));
        let against = self.old.label();
        Flip { against, by: names.join(" + "), kind, about, text }
    }

    /// The kernel function whose absence is the reason to reject.
    fn function(&self, rejected: &ProgramReport) -> Option<&str> {
        let number = rejected.message.as_deref()?.strip_prefix("invalid func unknown#")?;
        self.opened.absent_function(number.parse().ok()?)
    }

    /// Every difference, behaviours first.
    fn differences(&self) -> Vec<Cause> {
        let mut out: Vec<Cause> = self
            .new
            .kernel
            .differences(&self.old.kernel)
            .into_iter()
            .filter(|d| !matches!(d, Difference::Config(_)))
            .map(Cause::Kernel)
            .collect();
        let names: BTreeSet<&String> =
            self.new.kconfig.keys().chain(self.old.kconfig.keys()).collect();
        let differs = |n: &&String| self.new.kconfig.get(*n) != self.old.kconfig.get(*n);
        out.extend(names.into_iter().filter(differs).map(|n| Cause::Config(n.clone())));
        out.push(Cause::Types(None));
        if self.new.version_code != self.old.version_code {
            out.push(Cause::Version);
        }
        out
    }

    fn smallest(&self, spent: &mut u64) -> Vec<Cause> {
        let all = self.differences();
        let group = |g: usize| all.iter().filter(|c| c.group() == g).cloned().collect::<Vec<_>>();
        let groups: Vec<Vec<Cause>> = (0..GROUPS).map(group).filter(|g| !g.is_empty()).collect();
        if let Some(one) = groups.iter().find(|g| self.turns(g, spent)) {
            return self.reduce(Vec::new(), one.clone(), spent);
        }
        let mut needed = groups;
        if !self.turns(&needed.concat(), spent) {
            return Vec::new();
        }
        let mut at = needed.len();
        while at > 0 {
            at -= 1;
            let without: Vec<Cause> = needed
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != at)
                .flat_map(|(_, g)| g.clone())
                .collect();
            if self.turns(&without, spent) {
                needed.remove(at);
            }
        }
        for at in 0..needed.len() {
            let others: Vec<Cause> = needed
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != at)
                .flat_map(|(_, g)| g.clone())
                .collect();
            needed[at] = self.reduce(others, needed[at].clone(), spent);
        }
        needed.concat()
    }

    /// The smallest part of `causes` found that turns the verdict together with `fixed`: halves, then single ones.
    fn reduce(&self, fixed: Vec<Cause>, mut causes: Vec<Cause>, spent: &mut u64) -> Vec<Cause> {
        let mut chunk = causes.len().div_ceil(2);
        while causes.len() > 1 && chunk >= 1 && *spent < SEARCH_BUDGET {
            let mut at = 0;
            let mut dropped = false;
            while at < causes.len() && causes.len() > 1 && *spent < SEARCH_BUDGET {
                let end = (at + chunk).min(causes.len());
                let rest = [&fixed[..], &causes[..at], &causes[end..]].concat();
                if rest.len() > fixed.len() && self.turns(&rest, spent) {
                    causes.drain(at..end);
                    dropped = true;
                } else {
                    at = end;
                }
            }
            if chunk == 1 && !dropped {
                break;
            }
            chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
        }
        causes
    }

    /// Whether the new kernel, with these taken from the old one, gives the old one's verdict.
    fn turns(&self, causes: &[Cause], spent: &mut u64) -> bool {
        let target = self.mixed(causes);
        let Linked { entries, maps } = target.link_alone(self.opened);
        let Some(entry) = entries.get(self.nth) else { return false };
        let judged = Entry::judge(entry, &target, self.options);
        // What a judgement costs beside its instructions: linking the object.
        *spent += u64::from(judged.report.stats.insns_processed) + 2_000;
        let report = ObjectReport::of("", maps, vec![judged]).programs.pop();
        report.is_some_and(|r| {
            r.verdict == self.wanted && (self.code.is_none() || r.code == self.code)
        })
    }

    fn mixed(&self, causes: &[Cause]) -> Target {
        let mut of_kernel = Vec::new();
        let mut target = self.new.clone();
        for cause in causes {
            match cause {
                Cause::Kernel(d) => of_kernel.push(d.clone()),
                Cause::Config(name) => {
                    copy(&mut target.kconfig, &self.old.kconfig, name);
                    of_kernel.push(Difference::Config(name.clone()));
                }
                Cause::Types(_) => {
                    target.vmlinux.clone_from(&self.old.vmlinux);
                    target.modules.clone_from(&self.old.modules);
                    target.symbols = self.old.symbols.clone();
                    of_kernel.push(Difference::Symbols);
                }
                Cause::Version => target.version_code = self.old.version_code,
            }
        }
        target.kernel = self.new.kernel.with(&self.old.kernel, &of_kernel);
        target
    }
}

fn copy(to: &mut BTreeMap<String, String>, from: &BTreeMap<String, String>, name: &str) {
    match from.get(name) {
        Some(value) => to.insert(name.to_string(), value.clone()),
        None => to.remove(name),
    };
}

/// Where the rejecting kernel stopped, and its words.
fn bites(target: &Target, rejected: &ProgramReport) -> String {
    let mut out = format!("; {} says", target.label());
    match &rejected.message {
        Some(message) => out.push_str(&format!(" `{message}`")),
        None => out.push_str(" nothing"),
    }
    if let Some(at) = rejected.insn_idx {
        let text = rejected.detail.insn_text.as_deref().unwrap_or("");
        out.push_str(&format!(" at insn {at} `{text}`"));
    }
    if let Some(source) = &rejected.source {
        out.push_str(&format!(" ({}:{}: `{}`)", source.file, source.line, source.text.trim()));
    }
    out
}
