//! Our answer against a kernel's.

use bpfassay_diag::log::diff;
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

/// What tells our answer from the kernel's: oracle *verdict* for verdict, error number, message and counters, *state*
/// for the first instruction and register where the logs part.
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
    let last = || theirs.log.lines().rev().find(|l| !is_statistics(l)).unwrap_or("");
    if errno != theirs.errno {
        let kind = match (errno, theirs.errno) {
            (0, _) => "accepted, the kernel rejects",
            (_, 0) => "rejected, the kernel accepts",
            _ => "error number",
        };
        let detail = format!(
            "{verdict} errno {errno} {message:?}; {kernel} has errno {}: {:?}",
            theirs.errno,
            last()
        );
        return Some(finding(kind, detail));
    }
    if errno != 0 && !message.is_empty() && !theirs.log.lines().any(|l| l == message) {
        return Some(finding("message", format!("{message:?}; {kernel} has {:?}", last())));
    }
    let (a, b) = (counters(&ours.log)?, counters(&theirs.log)?);
    if a != b {
        return Some(finding("counters", format!("{a}; {kernel} has {b}")));
    }
    let parts = diff(&ours.log, &theirs.log)?;
    let shown = |l: &Option<String>| l.clone().unwrap_or_else(|| "nothing".to_string());
    Some(Finding {
        oracle: "state".to_string(),
        kind: format!("{:?}", parts.kind),
        place: format!("{kernel}: {}", parts.place.field.as_deref().unwrap_or("line")),
        detail: format!(
            "line {}, insn {:?}, {}: ours {:?}; {kernel} has {:?}",
            parts.line,
            parts.place.insn,
            parts.place.register.as_deref().unwrap_or("no register"),
            shown(&parts.ours),
            shown(&parts.kernels)
        ),
    })
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|s| line.starts_with(s))
}

/// Lines with an instruction or a state, and how many of them come before the logs part.
pub fn equal_lines(ours: &str, theirs: &str) -> (u64, u64) {
    let all = theirs.lines().filter(|l| is_instruction(l)).count() as u64;
    let equal = match diff(ours, theirs) {
        None => all,
        Some(d) => theirs.lines().take(d.line - 1).filter(|l| is_instruction(l)).count() as u64,
    };
    (all, equal)
}

fn is_instruction(line: &str) -> bool {
    line.split_once(": ")
        .is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::target;
    use bpfassay_isa::asm::{assemble, NoNames};
    use bpfassay_object::model::Program;
    use bpfassay_spec::ProgType;
    use bpfassay_verifier::log::LogLevel;
    use bpfassay_verifier::verify;

    fn report(text: &str) -> Report {
        let program =
            Program::bare("p", ProgType::SchedCls, assemble(text, &NoNames).expect("a program"));
        let target = target("6.18").expect("a kernel that is served");
        let mut config = target.config();
        config.log_level = LogLevel::LEVEL2;
        verify(&program, &config)
    }

    fn kind(ours: &Report, errno: i32, log: &str) -> Option<String> {
        let answer = Answer::verdict(errno, log.to_string());
        against(ours, &answer, "k").map(|f| format!("{}: {}", f.oracle, f.kind))
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let ours = report("r0 = r5\nexit");
        let log = ours.log.as_str();
        assert_eq!(kind(&ours, 13, log), None);
        assert_eq!(kind(&ours, 0, log).as_deref(), Some("verdict: rejected, the kernel accepts"));
        assert_eq!(kind(&ours, 22, log).as_deref(), Some("verdict: error number"));
        let other = log.replace("R5 !read_ok", "R5 is lost");
        assert_eq!(kind(&ours, 13, &other).as_deref(), Some("verdict: message"));
        let other = log.replace("processed 1 insns", "processed 2 insns");
        assert_eq!(kind(&ours, 13, &other).as_deref(), Some("verdict: counters"));
        let ours = report("r0 = 7\nexit");
        let other = ours.log.replace("R0=7", "R0=8");
        assert!(kind(&ours, 0, &other).is_some_and(|k| k.starts_with("state: ")));
        let (all, equal) = equal_lines(&ours.log, &other);
        assert!(equal < all, "{equal} of {all}");
        assert_eq!(
            kind(&ours, 13, &ours.log).as_deref(),
            Some("verdict: accepted, the kernel rejects")
        );
    }
}
