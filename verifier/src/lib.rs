//! An abstract-interpretation verifier with the Linux kernel's verdicts and log.
//!
//! Bytes and a kernel description go in, a report comes out: no files, clocks,
//! terminals or engines in here.  Rooms follow the kernel's own newer file names:
//! `domain` (values), `transfer` (what an action does), `check` (whether it is
//! allowed), `explore` (paths, pruning, precision, liveness), `cfg`, `log`, `diagnostics`
//! (what 7.3 says below a rejection).

pub mod config;
pub mod report;
pub mod rewrite;
pub mod stop;

pub mod attach;
pub mod attach_target;
pub mod cfg;
pub mod check;
pub mod diagnostics;
pub mod domain;
pub mod env;
pub mod explore;
mod extension;
pub mod fastcall;
pub mod insn_fields;
pub mod late;
mod ldimm64;
pub mod log;
pub mod mutation;
pub mod passes;
pub mod precheck;
pub mod stack_depth;
pub mod subprogs;
pub mod transfer;

pub use check::map_fields::map_record_of;
pub use config::Config;
pub use passes::{verify, verify_observed, verify_recorded, verify_shown, Observer};
pub use report::{MemoryUse, Report, Stats, Trail, TrailStep, Verdict};
pub use stop::{Check, Errno, Stop};
