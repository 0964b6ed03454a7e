//! Verdict, error number, message and counters against a kernel's; and where the logs part.

use bpfassay_verifier::{Report, Verdict};

use crate::finding::Finding;
use crate::kernel::Answer;

/// A message without its numbers, which differ from program to program.
pub fn masked_message(message: &str) -> String {
    let mut out = String::new();
    let mut chars = message.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            out.push(c);
            continue;
        }
        out.push('n');
        while chars.peek().is_some_and(|c| c.is_ascii_hexdigit() || *c == 'x') {
            chars.next();
        }
    }
    out
}

/// The processed line of a log (`processed N insns …`).
fn counters(log: &str) -> Option<&str> {
    log.lines().rev().find(|l| l.starts_with("processed "))
}

/// What tells our answer from the kernel's.
pub fn against(ours: &Report, theirs: &Answer, kernel: &str) -> Option<Finding> {
    let (verdict, errno) = match &ours.verdict {
        Verdict::Accepted => ("accepted", 0),
        Verdict::Rejected(e) => ("rejected", e.0),
        Verdict::Unsupported(_) => return None,
    };
    let message = ours.message().unwrap_or("");
    let finding = |kind: &str, detail: String| Finding {
        oracle: "verdict".to_string(),
        kind: kind.to_string(),
        place: format!("{kernel}: {}", masked_message(message)),
        detail,
    };
    if errno != theirs.errno {
        let kind = match (errno, theirs.errno) {
            (0, _) => "accepted, the kernel rejects",
            (_, 0) => "rejected, the kernel accepts",
            _ => "error number",
        };
        let last = theirs.log.lines().rev().nth(1).unwrap_or("");
        let detail =
            format!("{verdict} errno {errno}; {kernel} has errno {}: {last}", theirs.errno);
        return Some(finding(kind, detail));
    }
    let (a, b) = (counters(&ours.log)?, counters(&theirs.log)?);
    if a != b {
        return Some(finding("counters", format!("{a}; {kernel} has {b}")));
    }
    (ours.log != theirs.log).then(|| {
        let parts = ours.log.lines().zip(theirs.log.lines()).find(|(a, b)| a != b);
        let (a, b) = parts.unwrap_or(("", ""));
        finding("log", format!("ours {a:?}; {kernel} has {b:?}"))
    })
}
