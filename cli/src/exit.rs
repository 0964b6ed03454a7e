//! Exit statuses, one per kind of outcome.

use std::process::ExitCode;

/// Most threads that `--jobs` starts, whatever it says: more would only cost memory.
pub const MAX_JOBS: usize = 256;

/// What a command ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    /// Some program was rejected, or a comparison failed.
    Rejected,
    /// Unsupported, unreadable, or nothing found.
    NotJudged,
    /// Our own mistake, a caught panic among them.
    Internal,
    /// The command line was wrong (`EX_USAGE`).
    Usage,
}

impl Outcome {
    /// Of a `bpfassay` that ran elsewhere; None for one that was killed.
    #[cfg(unix)]
    pub fn of_status(status: Option<i32>) -> Outcome {
        match status {
            Some(0) => Outcome::Ok,
            Some(1) => Outcome::Rejected,
            Some(2) | None => Outcome::NotJudged,
            Some(64) => Outcome::Usage,
            Some(_) => Outcome::Internal,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(o: Outcome) -> ExitCode {
        ExitCode::from(match o {
            Outcome::Ok => 0,
            Outcome::Rejected => 1,
            Outcome::NotJudged => 2,
            Outcome::Internal => 3,
            Outcome::Usage => 64,
        })
    }
}

/// Writes `bpfassay: error: …` and gives the outcome back.
pub fn fail(outcome: Outcome, message: impl std::fmt::Display) -> Outcome {
    eprintln!("bpfassay: error: {message}");
    outcome
}
