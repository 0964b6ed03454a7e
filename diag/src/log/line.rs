//! What each line of a log is.
//!
//! Lines are told apart by their form alone, so any one of them can be classified without its neighbours.

use super::stats::stack_depth;

/// Kinds of lines of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `N: (b7) r0 = 7  ; R0=7`.
    Insn,
    /// `N: R0=1 R10=fp0`, `N: frame1: …`, or a whole state behind a heading (` R0=…`, `cur state: R0=…`).
    State,
    /// `; return 0; @ prog.c:12`.
    Source,
    /// `from A to B: …`, also its `safe` form.
    FromTo,
    /// `N: safe`: the path ends at an equivalent state.
    Safe,
    /// `mark_precise: frame0: …`.
    MarkPrecise,
    /// `frame 0: propagating r1,r2` (level 2).
    Propagating,
    /// `SCC enter …`, `SCC exit …`, `SCC backedge …` (level 2).
    Scc,
    /// `(0,3) frame 1 insn 5 +live -8`, `(0) live stack update done in 2 iterations` (level 2).
    StackLiveness,
    /// `func#N @M` (level 2).
    Func,
    /// `Live regs before insn:` (level 2).
    LiveHeading,
    /// One line of that block: `  1   3: 01........ (b7) r0 = 7`.
    LiveRegs,
    /// `verification time N usec` (level 4).
    VerificationTime,
    /// `stack depth a+b`, in 7.2 `stack depth a+b max c`, in 7.3 `stack depth max a` (level 4).
    StackDepth,
    /// `subprog N (name) main insns_self a insns_total b stack c` (level 4, 7.3), `insns processed a+b` (level 4, 7.2).
    SubprogStats,
    /// `processed N insns …`.
    Processed,
    /// An empty line.
    Blank,
    /// Everything else: what the verifier has to say.
    Message,
}

/// One line with what its form tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The line without its end.
    pub text: &'a str,
    pub kind: Kind,
    /// Instruction the line is about: of an instruction, state, `safe` or live-registers line its own;
    /// of `from A to B` it is B; of `mark_precise … before N:` it is N.
    pub insn: Option<u32>,
    /// Text of the instruction (`(b7) r0 = 7`), trimmed, where the line has one.
    pub insn_text: Option<&'a str>,
    /// Text of the register state (`R0=7 R10=fp0`, perhaps with `frame1: ` before), trimmed, where there is one.
    pub state: Option<&'a str>,
}

/// The lines of a log in order.
///
/// A few messages of the kernel lack their line end, so the statistics stand behind them on the same
/// line (`expected prog array map for tail callprocessed 3 insns …`): such a line counts as two.
pub struct Lines<'a> {
    lines: std::str::Lines<'a>,
    /// Second half of a line that was taken apart from the front.
    front: Option<&'a str>,
    /// First half of a line that was taken apart from the back.
    back: Option<&'a str>,
}

impl<'a> Lines<'a> {
    pub fn new(log: &'a str) -> Lines<'a> {
        Lines { lines: log.lines(), front: None, back: None }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if let Some(rest) = self.front.take() {
            return Some(Line::classify(rest));
        }
        let Some(text) = self.lines.next() else {
            return self.back.take().map(Line::classify);
        };
        let (text, rest) = split_statistics(text);
        self.front = rest;
        Some(Line::classify(text))
    }
}

impl DoubleEndedIterator for Lines<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.back.take() {
            return Some(Line::classify(first));
        }
        let Some(text) = self.lines.next_back() else {
            return self.front.take().map(Line::classify);
        };
        Some(Line::classify(match split_statistics(text) {
            (first, Some(rest)) => {
                self.back = Some(first);
                rest
            }
            (whole, None) => whole,
        }))
    }
}

/// Takes statistics off the end of a message without a line end.
fn split_statistics(text: &str) -> (&str, Option<&str>) {
    let starts = || {
        let time = text.ends_with(" usec").then(|| text.rfind("verification time ")).flatten();
        let processed = text.contains(" insns (limit ").then(|| text.rfind("processed ")).flatten();
        time.or(processed)
    };
    match starts() {
        // What stands in front of them must not be a recognised line itself.
        Some(at) if at > 0 => {
            let (first, rest) = text.split_at(at);
            if Line::classify(first).is_message() {
                (first, Some(rest))
            } else {
                (text, None)
            }
        }
        _ => (text, None),
    }
}

impl<'a> Line<'a> {
    /// Tells the kind of one line.
    pub fn classify(text: &'a str) -> Line<'a> {
        by_word(text)
            .or_else(|| by_index(text))
            .or_else(|| live_regs(text))
            .or_else(|| stack_liveness(text))
            .or_else(|| bare_state(text))
            .unwrap_or_else(|| plain(text, Kind::Message))
    }

    /// True for the kinds that can be a program's message.
    pub fn is_message(&self) -> bool {
        self.kind == Kind::Message
    }
}

fn plain(text: &str, kind: Kind) -> Line<'_> {
    Line { text, kind, insn: None, insn_text: None, state: None }
}

/// Lines that begin with a fixed word.
fn by_word(text: &str) -> Option<Line<'_>> {
    const WORDS: &[(&str, Kind)] = &[
        ("; ", Kind::Source),
        ("SCC enter ", Kind::Scc),
        ("SCC exit ", Kind::Scc),
        ("SCC backedge ", Kind::Scc),
        ("verification time ", Kind::VerificationTime),
        ("processed ", Kind::Processed),
    ];
    if text.is_empty() {
        return Some(plain(text, Kind::Blank));
    }
    if text == "Live regs before insn:" {
        return Some(plain(text, Kind::LiveHeading));
    }
    if let Some((_, kind)) = WORDS.iter().find(|(w, _)| text.starts_with(w)) {
        return Some(plain(text, *kind));
    }
    if stack_depth(text).is_some() {
        return Some(plain(text, Kind::StackDepth));
    }
    let sums = text.strip_prefix("insns processed ");
    if sums.is_some_and(|s| s.split('+').all(|n| number(n).is_some()))
        || text.starts_with("subprog ") && text.contains(" insns_self ")
    {
        return Some(plain(text, Kind::SubprogStats));
    }
    if let Some(rest) = text.strip_prefix("mark_precise: ") {
        return Some(mark_precise(text, rest));
    }
    if let Some(rest) = text.strip_prefix("from ") {
        return from_to(text, rest);
    }
    if let Some(rest) = text.strip_prefix("func#") {
        let (n, at) = rest.split_once(" @")?;
        return (number(n).is_some() && number(at).is_some()).then(|| plain(text, Kind::Func));
    }
    // The two states of an infinite loop; the space in front belongs to the state.
    for heading in ["cur state:", "old state:"] {
        if let Some(state) = text.strip_prefix(heading) {
            return Some(Line { state: Some(state.trim()), ..plain(text, Kind::State) });
        }
    }
    let (frame, _) = text.strip_prefix("frame ")?.split_once(": propagating ")?;
    number(frame).map(|_| plain(text, Kind::Propagating))
}

/// `from A to B: …`, with ` (speculative execution)` before the colon for such paths.
fn from_to<'a>(text: &'a str, rest: &'a str) -> Option<Line<'a>> {
    let (path, state) = rest.split_once(':')?;
    let (from, to) = path.split_once(" to ")?;
    number(from)?;
    let to = to.strip_suffix(" (speculative execution)").unwrap_or(to);
    let state = state.trim();
    Some(Line {
        insn: Some(number(to)?),
        state: (state != "safe").then_some(state),
        ..plain(text, Kind::FromTo)
    })
}

/// Backtracking lines: `… before N: (xx) …` has an instruction, `… parent state regs=…:  R0=…` a state.
fn mark_precise<'a>(text: &'a str, rest: &'a str) -> Line<'a> {
    let mut line = plain(text, Kind::MarkPrecise);
    if let Some((_, insn)) = rest.split_once(" before ") {
        if let Some((idx, words)) = insn.split_once(": ") {
            line.insn = number(idx);
            line.insn_text = Some(words.trim());
        }
    } else if rest.contains(": parent state ") {
        // `frame0: parent state regs=r1 stack=-8:  R0=…`: the colon before the state is the third.
        line.state =
            rest.split_once(" stack=").and_then(|(_, s)| s.split_once(':')).map(|(_, s)| s.trim());
    }
    line
}

/// `N: …`: an instruction, a state, or the end of a path.
fn by_index(text: &str) -> Option<Line<'_>> {
    let (idx, rest) = text.split_once(':')?;
    let insn = Some(number(idx)?);
    let rest = rest.trim();
    let line = plain(text, Kind::State);
    if rest == "safe" {
        return Some(Line { kind: Kind::Safe, insn, ..line });
    }
    if rest.starts_with('(') || rest.starts_with("BUG_") {
        // The state follows the first semicolon: no instruction's text holds one.
        let (words, state) = match rest.split_once(';') {
            Some((w, s)) => (w.trim_end(), Some(s.trim())),
            None => split_next_state(rest),
        };
        return Some(Line { kind: Kind::Insn, insn, insn_text: Some(words), state, ..line });
    }
    (rest.is_empty() || looks_like_state(rest)).then_some(Line { insn, state: Some(rest), ..line })
}

/// `(c6) if w7 s< 0x200 goto pc+1 12: R0=…`: after a jump the state stands behind the next index.
fn split_next_state(rest: &str) -> (&str, Option<&str>) {
    let split = || {
        let (_, after) = rest.split_once(" goto pc")?;
        let (_, next) = after.split_once(' ')?;
        let (idx, state) = next.split_once(": ")?;
        number(idx)?;
        let words = &rest[..rest.len() - next.len()];
        looks_like_state(state.trim()).then(|| (words.trim_end(), Some(state.trim())))
    };
    split().unwrap_or((rest, None))
}

/// `[scc] N: 0123456789 (xx) …`, dots for dead registers.
fn live_regs(text: &str) -> Option<Line<'_>> {
    let (left, right) = text.split_once(": ")?;
    let idx = left.split_ascii_whitespace().next_back().and_then(number)?;
    let (mask, insn_text) = right.split_once(' ')?;
    let is_mask = mask.len() == 10 && mask.bytes().all(|b| b == b'.' || b.is_ascii_digit());
    is_mask.then_some(Line {
        insn: Some(idx),
        insn_text: Some(insn_text.trim()),
        ..plain(text, Kind::LiveRegs)
    })
}

/// `(callsites) frame F insn N …` or `(callsites) live stack update done …`.
fn stack_liveness(text: &str) -> Option<Line<'_>> {
    let (callsites, rest) = text.strip_prefix('(')?.split_once(") ")?;
    if !callsites.split(',').all(|n| number(n).is_some()) {
        return None;
    }
    let line = plain(text, Kind::StackLiveness);
    if rest.starts_with("live stack update done in ") {
        return Some(line);
    }
    let (frame, rest) = rest.strip_prefix("frame ")?.split_once(" insn ")?;
    let (insn, _) = rest.split_once(' ')?;
    number(frame)?;
    Some(Line { insn: Some(number(insn)?), ..line })
}

/// A whole state behind a heading such as `caller:`; always printed with a space in front.
fn bare_state(text: &str) -> Option<Line<'_>> {
    let rest = text.strip_prefix(' ')?.trim();
    looks_like_state(rest).then_some(Line { state: Some(rest), ..plain(text, Kind::State) })
}

/// True if `rest` begins as a printed state does.
fn looks_like_state(rest: &str) -> bool {
    let word = rest.split_ascii_whitespace().next().unwrap_or("");
    let register = |prefix: &str| {
        word.strip_prefix(prefix)
            .and_then(|w| w.split_once('='))
            // Up to 6.12 marks of liveness may stand behind the number: `R0_w`, `fp-8_rw`.
            .map(|(n, _)| n.split_once('_').map_or(n, |(n, _)| n))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let frame = word.strip_prefix("frame").and_then(|w| w.strip_suffix(':'));
    register("R")
        || register("fp-")
        || frame.and_then(number).is_some()
        || word.starts_with("refs=")
        || word == "cb"
        || word == "async_cb"
}

/// A decimal number without sign or spaces.
fn number(s: &str) -> Option<u32> {
    // `parse` alone would take a plus sign.
    s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{Kind, Line};

    #[track_caller]
    fn kind(text: &str, want: Kind, insn: Option<u32>) {
        let line = Line::classify(text);
        assert_eq!((line.kind, line.insn), (want, insn), "{text:?}");
    }

    #[test]
    fn every_form_the_kernel_prints() {
        kind("func#1 @12", Kind::Func, None);
        kind("Live regs before insn:", Kind::LiveHeading, None);
        kind("      0: .1........ (bf) r6 = r1", Kind::LiveRegs, Some(0));
        kind("  1 117: 0.....6... (55) if r0 != 0x0 goto pc-3", Kind::LiveRegs, Some(117));
        kind("0: R1=ctx() R10=fp0", Kind::State, Some(0));
        kind("7: frame1: R6=1 cb", Kind::State, Some(7));
        kind("12:", Kind::State, Some(12));
        kind("12: refs=2", Kind::State, Some(12));
        kind(" frame1: R1=ctx() R10=fp0", Kind::State, None);
        kind("old state: R0=0 R1=ctx() R10=fp0", Kind::State, None);
        kind(" R0_w=inv0 R6_rw=ctx(id=0,off=0,imm=0) R10=fp0", Kind::State, None);
        kind("7: R1_w=ptr_path(off=0,imm=0)", Kind::State, Some(7));
        kind("0: (b7) r0 = 7                        ; R0=7", Kind::Insn, Some(0));
        kind("3: (95) exit", Kind::Insn, Some(3));
        kind("; return x; @ a.c:3", Kind::Source, None);
        kind("from 4 to 9: R0=1 R10=fp0", Kind::FromTo, Some(9));
        kind("from 4 to 9 (speculative execution): R0=1", Kind::FromTo, Some(9));
        kind("from 4 to 9: safe", Kind::FromTo, Some(9));
        kind("9: safe", Kind::Safe, Some(9));
        kind(
            "mark_precise: frame0: last_idx 5 first_idx 0 subseq_idx -1 ",
            Kind::MarkPrecise,
            None,
        );
        kind(
            "mark_precise: frame0: regs=r2 stack= before 4: (07) r2 += -4",
            Kind::MarkPrecise,
            Some(4),
        );
        kind("frame 0: propagating r1,r2", Kind::Propagating, None);
        kind("SCC enter (0)", Kind::Scc, None);
        kind("(0,3) frame 1 insn 5 +live -8,-16 ", Kind::StackLiveness, Some(5));
        kind("(0) live stack update done in 2 iterations", Kind::StackLiveness, None);
        kind("verification time 33 usec", Kind::VerificationTime, None);
        kind("stack depth 8+0", Kind::StackDepth, None);
        kind("stack depth max 8", Kind::StackDepth, None);
        kind("stack depth 8+0 max 8", Kind::StackDepth, None);
        kind("insns processed 20+4", Kind::SubprogStats, None);
        kind("insns processed by nobody", Kind::Message, None);
        kind(
            "subprog 0 (tenant) main insns_self 12 insns_total 12 stack 8",
            Kind::SubprogStats,
            None,
        );
        kind("", Kind::Blank, None);
    }

    #[test]
    fn words_of_the_verifier_are_messages() {
        for text in [
            "R1 type=fp expected=map_ptr",
            "stack depth 520 exceeds interpreter stack depth limit",
            "R0 !read_ok",
            "(anon) frame 1 insn 2 x",
            "unreachable insn 3",
            "caller:",
            "from the start",
            "invalid access to packet, off=0 size=1, R1(id=0,off=0,r=0)",
            "arg#0 reference type('UNKNOWN ') size cannot be determined: -22",
            "Validating f() func#1...",
            "jump out of range from insn 1 to 5",
        ] {
            kind(text, Kind::Message, None);
        }
    }

    #[test]
    fn statistics_behind_a_message_without_line_end() {
        let log = "0: (85) call bpf_tail_call#12\nexpected prog array map for tail callprocessed 3 insns (limit 1000000) x\n";
        let texts: Vec<&str> = super::Lines::new(log).map(|l| l.text).collect();
        let back: Vec<&str> = super::Lines::new(log).rev().map(|l| l.text).collect();
        assert_eq!(texts.get(1).copied(), Some("expected prog array map for tail call"));
        assert_eq!(texts.len(), 3);
        assert!(back.iter().rev().eq(texts.iter()));
    }

    #[test]
    fn parts_of_a_line() {
        let line =
            Line::classify("5: (79) r0 = *(u64 *)(r1 +0)          ; frame1: R0=scalar() R1=fp-8");
        assert_eq!(line.insn_text, Some("(79) r0 = *(u64 *)(r1 +0)"));
        assert_eq!(line.state, Some("frame1: R0=scalar() R1=fp-8"));
        let line =
            Line::classify("mark_precise: frame0: parent state regs=r1 stack=-8:  R1=P1 fp-8=P2");
        assert_eq!(line.state, Some("R1=P1 fp-8=P2"));
    }
}
