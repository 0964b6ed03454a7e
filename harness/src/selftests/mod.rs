//! The kernel's own test programs (`tools/testing/selftests/bpf`), from a tree the person supplies.
//!
//! [`tree`] compiles them, [`arrays`] reads the older ones, [`annotations`] reads what a program's BTF says is expected
//! of it, [`pattern`] matches expected messages, [`xlated`] prints
//! rewritten programs, [`judge`] puts it beside our verdict and the running kernel's, [`run`]
//! runs it, and [`tally`] counts.
//! No text of the kernel's tree is in here; the names of the tags are the interface (`progs/bpf_misc.h`, 6.18).

pub mod annotations;
pub mod arrays;
pub mod judge;
mod kfuncs;
pub mod pattern;
pub mod run;
pub mod tally;
pub mod tree;
pub mod xlated;
