//! Exit statuses, one per kind of outcome.

use std::process::ExitCode;

use crate::out;

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

/// For man pages; the numbers are those of [`Outcome::code`].
pub const EXIT_STATUS: &str = "\
0   all is well: accepted, equal, agreed, or done
1   a program is rejected, a rule is broken, or a comparison failed
2   something could not be judged: unsupported, unreadable, nothing found, or an output that could not be written
3   internal error
64  the command line is wrong";

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

    fn code(self) -> u8 {
        match self {
            Outcome::Ok => 0,
            Outcome::Rejected => 1,
            Outcome::NotJudged => 2,
            Outcome::Internal => 3,
            Outcome::Usage => 64,
        }
    }

    /// A stable word for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Rejected => "rejected",
            Outcome::NotJudged => "not-judged",
            Outcome::Internal => "internal",
            Outcome::Usage => "usage",
        }
    }

    /// The outcome of two parts of a run: the graver.
    pub fn and(self, other: Outcome) -> Outcome {
        let rank = |o: Outcome| match o {
            Outcome::Ok => 0,
            Outcome::NotJudged => 1,
            Outcome::Rejected => 2,
            Outcome::Usage => 3,
            Outcome::Internal => 4,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(o: Outcome) -> ExitCode {
        ExitCode::from(o.code())
    }
}

/// Writes `bpfassay: error: …` and gives the outcome back.
pub fn fail(outcome: Outcome, message: impl std::fmt::Display) -> Outcome {
    let message = message.to_string();
    out::remember(&message);
    out::note(format!("bpfassay: error: {message}"));
    outcome
}
