//! The running Linux kernel as an engine: load a program, read its verdict, test-run it.
//!
//! It creates maps, loads BTF and programs, and closes everything again.  It
//! never attaches and never pins, so nothing outlives the call.  Knows no
//! object files and no verifier of ours.  Mirrors the calls libbpf makes
//! (`bpf_object__create_map`, `bpf_object_load_prog`).
//!
//! On other systems the same functions exist and answer [`KernelError::Unavailable`].

use std::fmt;
use std::time::Duration;

use bpfassay_diag::log::Stats;

#[cfg(target_os = "linux")]
mod attr;
#[cfg(target_os = "linux")]
mod btf;
#[cfg(target_os = "linux")]
mod caps;
#[cfg(target_os = "linux")]
mod dump;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod linked;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod maps;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod testrun;
#[cfg(not(target_os = "linux"))]
mod unavailable;

#[cfg(target_os = "linux")]
pub use dump::stay_on_cpu;
#[cfg(target_os = "linux")]
pub use host::{symbols, Host};
#[cfg(target_os = "linux")]
pub use load::{release, Loaded, Session};
#[cfg(not(target_os = "linux"))]
pub use unavailable::{release, stay_on_cpu, symbols, Host, Loaded, Session};

#[cfg(all(test, target_os = "linux"))]
mod tests;

/// State of every instruction, not only of the failing path (`BPF_LOG_LEVEL2`).
pub const LOG_LEVEL1: u32 = 1;
pub const LOG_LEVEL2: u32 = 2;
/// Statistics: verification time and stack depth (`BPF_LOG_STATS`).
pub const LOG_STATS: u32 = 4;

/// Largest log the kernel takes (`bpf_verifier_log_attr_valid`).
pub const KERNEL_MAX_LOG: usize = (u32::MAX >> 2) as usize;

/// How to load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadOptions {
    /// Sum of `LOG_…`; 0 asks for no log.
    pub log_level: u32,
    /// Largest log buffer in bytes; a longer log is given up for a shorter level (see [`LoadOutcome::log_level`]).
    pub max_log: usize,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { log_level: LOG_LEVEL2 | LOG_STATS, max_log: 64 << 20 }
    }
}

/// What the kernel decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Accepted,
    Rejected,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Rejected => "rejected",
        }
    }
}

/// The answer to one BPF_PROG_LOAD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadOutcome {
    pub verdict: Verdict,
    /// Positive errno of a rejection.
    pub errno: Option<i32>,
    /// The verifier's log without its terminating zero; bytes that are no UTF-8 are replaced.
    pub log: String,
    /// Level the log was written at: lower than asked for where the whole log exceeded `max_log`.
    pub log_level: u32,
    /// Numbers from the log's last lines; `None` where the kernel printed none.
    pub stats: Option<Stats>,
}

/// Input of BPF_PROG_TEST_RUN.
#[derive(Clone, Debug)]
pub struct TestRun<'a> {
    /// Packet; empty for program types without one.
    pub data: &'a [u8],
    /// Context structure (`__sk_buff`, `xdp_md`, …); empty for none.
    pub ctx: &'a [u8],
    /// Runs; the duration is per run.
    pub repeat: u32,
    /// Room for the packet after the run.
    pub data_out: usize,
    /// `BPF_F_TEST_…`.
    pub flags: u32,
    pub cpu: u32,
    /// The context is asked for afterwards; some types refuse to be asked.
    pub takes_ctx_out: bool,
}

impl Default for TestRun<'_> {
    fn default() -> Self {
        TestRun {
            data: &[],
            ctx: &[],
            repeat: 1,
            data_out: 1 << 16,
            flags: 0,
            cpu: 0,
            takes_ctx_out: true,
        }
    }
}

/// What a test run gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestRunResult {
    pub retval: u32,
    /// Mean time of one run.
    pub duration: Duration,
    pub data_out: Vec<u8>,
    pub ctx_out: Vec<u8>,
}

/// Key and value of a map's element.
pub type Element = (Vec<u8>, Vec<u8>);

/// Why the kernel gave no verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelError {
    /// This system has no bpf().
    Unavailable,
    /// The caller may not use bpf().
    NotPermitted,
    /// The kernel refused a map the program uses.
    Map { name: String, errno: i32 },
    /// The kernel refused the object's BTF.
    Btf { errno: i32, log: String },
    /// The program refers to a map, BTF or attach target that is not there.
    Program(String),
    /// Any other system call.
    Call { what: &'static str, errno: i32 },
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelError::Unavailable => f.write_str("the bpf() system call is not available here"),
            KernelError::NotPermitted => f.write_str("bpf() is not permitted to this user"),
            KernelError::Map { name, errno } => {
                write!(f, "map '{name}' was refused with errno {errno}")
            }
            KernelError::Btf { errno, log } => {
                write!(f, "BTF was refused with errno {errno}: {}", log.trim_end())
            }
            KernelError::Program(why) => f.write_str(why),
            KernelError::Call { what, errno } => write!(f, "{what} failed with errno {errno}"),
        }
    }
}

impl std::error::Error for KernelError {}
