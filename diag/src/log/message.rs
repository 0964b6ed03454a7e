//! The verifier's last words.

use super::line::{Kind, Line, Lines};
use crate::read::report::{heading, HEADER};

/// The last line before the statistics that is the verifier's own words: no instruction, state,
/// source, `from … to` or `mark_precise` line, nor one that only level 2 prints.  The report that
/// 7.3 prints behind it is not looked at.
///
/// `None` where there is none: the kernel refused without a word.
pub fn message(log: &str) -> Option<&str> {
    trailing(log).next().map(|l| l.text)
}

/// The whole block of such lines that ends in [`message`], in order.
pub fn message_lines(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = trailing(log).map(|l| l.text).collect();
    lines.reverse();
    lines
}

/// Message lines from the last backwards as far as they stand together.
fn trailing(log: &str) -> impl Iterator<Item = Line<'_>> {
    Lines::new(&log[..end_of_words(log)])
        .rev()
        .skip_while(|l| !matches!(l.kind, Kind::Message))
        .take_while(|l| l.is_message())
}

/// Where the verifier's own words end: before the report, unless another line of them stands behind it.
fn end_of_words(log: &str) -> usize {
    let Some(at) = log.rfind(HEADER).filter(|at| log[..*at].ends_with('\n')) else {
        return log.len();
    };
    let is_own = |l: &Line<'_>| {
        l.is_message() && !l.text.starts_with([' ', '\t']) && heading(l.text).is_none()
    };
    match Lines::new(&log[at..]).skip(1).any(|l| is_own(&l)) {
        true => log.len(),
        false => at,
    }
}

#[cfg(test)]
mod tests {
    use super::{message, message_lines};

    const LOG: &str = "func#0 @0\n0: R1=ctx() R10=fp0\n; return 0; @ a.c:1\n0: (95) exit\n\
                       first\nR0 !read_ok\nverification time 3 usec\nstack depth 0\n\
                       processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";

    #[test]
    fn the_last_words_stand_before_the_statistics() {
        assert_eq!(message(LOG), Some("R0 !read_ok"));
        assert_eq!(message_lines(LOG), ["first", "R0 !read_ok"]);
    }

    #[test]
    fn statistics_of_7_2_and_the_report_of_7_3_are_no_message() {
        let log = LOG.replace("stack depth 0\n", "stack depth 8 max 0\ninsns processed 20\n");
        assert_eq!(message(&log), Some("R0 !read_ok"));
        let report =
            "\nVerification failed: Register Use\n\nReason:\n  R0 has no value.\n\nverification";
        let log = LOG.replace("verification", report);
        assert_eq!(message(&log), Some("R0 !read_ok"));
        let more = log.replace("no value.\n\n", "no value.\n\nit would leak\n");
        assert_eq!(message(&more), Some("it would leak"));
    }

    #[test]
    fn a_silent_refusal_has_none() {
        let log = LOG.replace("first\nR0 !read_ok\n", "");
        assert_eq!(message(&log), None);
        assert!(message_lines(&log).is_empty());
    }

    #[test]
    fn an_infinite_loop_is_named_before_its_states() {
        let log = "; for (;;) @ a.c:1\ninfinite loop detected at insn 0\ncur state: R0=0 R10=fp0\nold state: R0=0 R10=fp0\n\
                   processed 11 insns\n";
        assert_eq!(message(log), Some("infinite loop detected at insn 0"));
    }

    #[test]
    fn spaces_belong_to_the_message() {
        assert_eq!(
            message("0: (95) exit\n  odd words \nprocessed 1 insns\n"),
            Some("  odd words ")
        );
    }
}
