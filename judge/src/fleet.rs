//! The same programs on several kernels, and why their answers differ.
//!
//! Where two neighbours disagree, single differences between them are taken over until the smallest set of them turns
//! the verdict: what is left is the cause.

mod instead;
mod search;

use bpfassay_object::Opened;
use serde::Serialize;

use crate::program::Options;
use crate::report::{ObjectError, ObjectReport, ProgramReport, VerdictWord};
use crate::target::{open, Linked, Target};

use search::Search;

/// Value of `schema`.
pub const FLEET_SCHEMA: &str = "bpfassay.fleet/1";

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
    /// Subject of the kernel's commit that made it so, where known.
    pub commit: Option<&'static str>,
    /// What to write instead, so that both kernels take the program.
    pub instead: Option<String>,
    /// For people: what differs, which releases have it, and the commit.
    #[serde(skip)]
    pub about: String,
    /// For people: the words of the kernel that rejects, and the instruction and line they are about.
    #[serde(skip)]
    pub bites: String,
    /// [`Flip::about`], [`Flip::bites`] and [`Flip::instead`] in one.
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
