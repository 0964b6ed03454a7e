//! The statistics at the end of a log (`print_verification_stats`).

use super::line::{Kind, Line, Lines};

/// What verification cost.  `None` where the log level left the number out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    pub insns_processed: u32,
    /// Complexity limit the kernel names beside it.
    pub insns_limit: u32,
    pub max_states_per_insn: u32,
    pub total_states: u32,
    pub peak_states: u32,
    /// Always 0 in 6.18.
    pub mark_read: u32,
    /// Sum over the subprograms of the `stack depth a+b+…` line, in 7.3 the depth of the deepest
    /// chain of calls, which it prints as `stack depth max a` (log level 4).
    pub stack_depth: Option<u32>,
    /// Microseconds of the `verification time` line (log level 4).
    pub verification_us: Option<u64>,
}

impl Stats {
    /// Reads the last `processed …` line of `log` and the lines that belong to it.
    pub fn parse(log: &str) -> Option<Stats> {
        let mut found = None;
        let mut extra = (None, None);
        // The statistics are the last lines, from 7.3 on with one for each of up to 256 subprograms;
        // reading backwards keeps this short for long logs.
        for line in Lines::new(log).rev().map(|l| l.text).take(320) {
            if found.is_none() {
                found = Stats::parse_processed(line);
            } else if let Some(us) = parse_time(line) {
                extra.0.get_or_insert(us);
                break;
            } else if let Some(depth) = stack_depth(line) {
                extra.1.get_or_insert(depth);
            } else if Line::classify(line).kind == Kind::SubprogStats {
            } else {
                break;
            }
        }
        let mut stats = found?;
        (stats.verification_us, stats.stack_depth) = extra;
        Some(stats)
    }

    /// Reads `processed N insns (limit L) max_states_per_insn a total_states b peak_states c mark_read d`.
    pub fn parse_processed(line: &str) -> Option<Stats> {
        let mut words = line.strip_prefix("processed ")?.split_ascii_whitespace();
        let mut number = |before: &[&str]| -> Option<u32> {
            for b in before {
                if words.next()? != *b {
                    return None;
                }
            }
            words.next()?.trim_end_matches(')').parse().ok()
        };
        Some(Stats {
            insns_processed: number(&[])?,
            insns_limit: number(&["insns", "(limit"])?,
            max_states_per_insn: number(&["max_states_per_insn"])?,
            total_states: number(&["total_states"])?,
            peak_states: number(&["peak_states"])?,
            mark_read: number(&["mark_read"])?,
            stack_depth: None,
            verification_us: None,
        })
    }
}

fn parse_time(line: &str) -> Option<u64> {
    line.strip_prefix("verification time ")?.strip_suffix(" usec")?.parse().ok()
}

/// The bytes of `stack depth a+b` (7.2: `stack depth a+b max c`), added up, or of `stack depth max a`.
pub(super) fn stack_depth(line: &str) -> Option<u32> {
    let depths = line.strip_prefix("stack depth ")?;
    let depths = depths.strip_prefix("max ").unwrap_or(depths);
    let depths = depths
        .split_once(" max ")
        .filter(|(_, deepest)| deepest.parse::<u32>().is_ok())
        .map_or(depths, |(depths, _)| depths);
    depths.split('+').try_fold(0u32, |sum, d| sum.checked_add(d.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn reads_the_lines_of_level_4() {
        let log = "from 3 to 5: safe\nverification time 12 usec\nstack depth 8+16+0\n\
                   processed 31 insns (limit 1000000) max_states_per_insn 1 total_states 4 peak_states 3 mark_read 0\n";
        let want = Stats {
            insns_processed: 31,
            insns_limit: 1_000_000,
            max_states_per_insn: 1,
            total_states: 4,
            peak_states: 3,
            mark_read: 0,
            stack_depth: Some(24),
            verification_us: Some(12),
        };
        assert_eq!(Stats::parse(log), Some(want));
    }

    #[test]
    fn reads_the_lines_of_7_3() {
        let log = "verification time 12 usec\nstack depth max 24\n\
                   subprog 0 (drop) main insns_self 20 insns_total 31 stack 8\n\
                   subprog 1 (<unknown>) static insns_self 11 insns_total 11 stack 16\n\
                   processed 31 insns (limit 1000000) max_states_per_insn 1 total_states 4 peak_states 3 mark_read 0\n";
        let stats = Stats::parse(log).expect("statistics");
        assert_eq!((stats.verification_us, stats.stack_depth), (Some(12), Some(24)));
    }

    #[test]
    fn a_log_without_statistics_has_none() {
        assert_eq!(Stats::parse(""), None);
        assert_eq!(Stats::parse("processed many insns\n"), None);
    }
}
