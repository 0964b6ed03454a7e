//! An answer as the files in `answers/` write it.

use bpfassay_judge::{ProgramReport, VerdictWord};

/// Errno (0 accepted, -1 not judged), instructions processed and the last line of the message, a tab between.
pub fn answer(p: &ProgramReport) -> String {
    let (errno, message) = match p.verdict {
        VerdictWord::Accepted => (0, ""),
        VerdictWord::Rejected => (p.errno.unwrap_or(0), p.message.as_deref().unwrap_or("")),
        VerdictWord::Unsupported => (-1, p.message.as_deref().unwrap_or("")),
    };
    format!("{errno}\t{}\t{message}", p.stats.insns_processed)
}
