//! Work in a child process of its own, where a crash is a result.
//!
//! What no verifier accepted may read and write whatever its process can.  The child
//! is a fork: it has the job in memory, answers through a pipe, and may do nothing
//! else.  It gives up core dumps, memory beyond a bound, processor time beyond a
//! bound, and, on Linux, every system call but those of memory, clocks and leaving
//! (`seccomp`).  The parent kills it at the wall clock's bound.  Knows no program.

use std::fmt;
use std::time::Duration;

#[cfg(unix)]
mod child;
#[cfg(target_os = "linux")]
mod seccomp;

/// True where [`contain`] works.
pub const IS_AVAILABLE: bool = cfg!(unix);

/// What a child may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Wall clock; processor time is a second more.
    pub time: Duration,
    /// Bytes of address space beyond what the parent has.
    pub memory: u64,
    /// Somebody said that it may run where the system has no filter of system calls (qemu-user): the
    /// child may then do whatever its user may, and has limits alone.
    pub may_lack_filter: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time: Duration::from_secs(10), memory: 4 << 30, may_lack_filter: false }
    }
}

/// What became of a child that gave no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Killed by this signal; SIGSYS means a system call it may not make.
    Signal(i32),
    /// It panicked, or left without an answer.
    NoAnswer,
    TimeLimit(Duration),
    /// The system has no filter of system calls, and nobody said that it may do without.
    NoFilter,
    /// The answer is longer than anybody would read.
    TooLong,
    /// No child could be made: what failed, and the error number.
    System(&'static str, i32),
    /// This system has no such children.
    Unavailable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Signal(n) => write!(f, "killed by signal {n}{}", name(*n)),
            Failure::NoAnswer => f.write_str("the process ended without an answer"),
            Failure::TimeLimit(t) => write!(f, "not done after {} s", t.as_secs_f64()),
            Failure::NoFilter => f.write_str(
                "this system gives a process no filter of system calls (qemu-user has none), and \
                 without one it runs only if told to (--no-filter)",
            ),
            Failure::TooLong => f.write_str("the answer is too long"),
            Failure::System(what, errno) => write!(f, "{what} failed with errno {errno}"),
            Failure::Unavailable => f.write_str("this system has no processes to contain it in"),
        }
    }
}

fn name(signal: i32) -> &'static str {
    #[cfg(unix)]
    return match signal {
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGSYS => " (SIGSYS: a system call it may not make)",
        libc::SIGXCPU => " (SIGXCPU: processor time used up)",
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGTRAP => " (SIGTRAP)",
        _ => "",
    };
    #[cfg(not(unix))]
    {
        let _ = signal;
        ""
    }
}

/// Runs `prepare` and then `run` in a child and gives what `run` answers.
///
/// `prepare` has the limits but may still make system calls (to map code, say); `run` may not.
/// Should be called while this process has one thread: the child has only the one that
/// calls, and what another held locked stays locked in it.
#[cfg(unix)]
pub fn contain<T>(
    limits: &Limits,
    prepare: impl FnOnce() -> T,
    run: impl FnOnce(T) -> Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    child::contain(limits, prepare, run)
}

/// Runs `run` in a child that has every right of this process and no more time than this.
///
/// As [`contain`] it should be called while this process has one thread.
///
/// # Errors
/// The time is over, or the child ended without an answer.
#[cfg(unix)]
pub fn within(time: Duration, run: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    child::within(time, run)
}

/// Elsewhere there is no such child.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn within(_: Duration, _: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    Err(Failure::Unavailable)
}

/// Elsewhere there is no such child.
#[cfg(not(unix))]
pub fn contain<T>(
    _: &Limits,
    _: impl FnOnce() -> T,
    _: impl FnOnce(T) -> Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    Err(Failure::Unavailable)
}
