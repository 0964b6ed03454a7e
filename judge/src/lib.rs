//! The front door: the bytes of an object and a kernel go in, a report comes out.
//!
//! ```
//! use bpfassay_judge::{check, Options, Target};
//!
//! # fn bytes() -> Vec<u8> { Vec::new() }
//! let target = Target::served("6.18")?.expect("a kernel that is served");
//! let report = check([("prog.o", bytes().as_slice())], &target, &Options::default());
//! for program in report.objects.iter().flat_map(|o| &o.programs) {
//!     println!("{} is {}", program.name, program.verdict.as_str());
//! }
//! assert_eq!(report.summary.exit_code(), 2, "nothing here could be read, which is no pass");
//! # Ok::<(), String>(())
//! ```
//!
//! The report is what `bpfassay check --format json` prints, contract `bpfassay.check/1`: [`CheckReport`] implements
//! `serde::Serialize`.  Whoever wants to spread the work over threads, or to choose programs, goes one step down:
//! [`Target::load_with`] gives an object's [`Entry`] list and what becomes of its maps, and [`Entry::judge`] judges
//! one program.
//!
//! Opens no file, starts no thread, reads no clock and knows no terminal; builds for `wasm32-unknown-unknown`.

pub mod explain;
mod fleet;
mod maps;
pub mod plan;
mod program;
mod report;
mod slots;
mod symbols;
mod target;

pub use fleet::{flips, Cell, Fleet, FleetProgram, FleetReport, Flip, Unread, FLEET_SCHEMA};
pub use maps::{judge_maps, MapReport, MapVerdict};
pub use program::{insn_text, judge, judge_linked, refused, source_of, Judged, Options};
pub use report::{
    CheckReport, Detail, ObjectError, ObjectReport, ProgramReport, ProgramStats, Source, Summary,
    VerdictWord, SCHEMA,
};
pub use symbols::SymbolTable;
pub use target::{open, served_packages, Entry, Linked, Target};

/// Judges every program of every object, each as if loaded alone, in the order given.
///
/// An object that cannot be read has an error and no programs; nothing is left out.
pub fn check<'a>(
    objects: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    target: &Target,
    options: &Options,
) -> CheckReport {
    let objects = objects.into_iter().map(|(path, bytes)| object(path, bytes, target, options));
    CheckReport::new(target, objects.collect())
}

fn object(path: &str, bytes: &[u8], target: &Target, options: &Options) -> ObjectReport {
    match target.load_with(bytes, path, options) {
        Ok(Linked { entries, maps }) => {
            ObjectReport::of(path, maps, entries.iter().map(|e| e.judge(target, options)).collect())
        }
        Err(error) => ObjectReport::unread(path, error),
    }
}
