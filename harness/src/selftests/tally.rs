//! Counts over judged test programs, and the list of everything that is not as expected.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::annotations::Way;
use super::judge::{Judged, MessageMatch};
use super::run::Run;
use crate::compare::Agreement;
use crate::oracle::reasons::Reasons;
use crate::rewriting::Rewriting;

/// One test with its outcome.
#[derive(Clone, Debug)]
pub struct Row {
    /// `progs/x.c` with the instruction set, or `verifier`.
    pub origin: String,
    pub program: String,
    pub prog_type: &'static str,
    pub way: Way,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// The loader refuses the program before any kernel sees it; and what its annotation says.
    Refused {
        why: String,
        expected: Option<bool>,
    },
    /// Its annotation says that it is not for here.
    Skipped(String),
    Judged(Box<Judged>),
}

/// Something to look at: what kind, where, why.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exception {
    pub kind: Kind,
    pub origin: String,
    pub program: String,
    pub reason: String,
}

/// Kinds of exceptions, worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    WrongVerdict,
    WrongErrno,
    WrongMessage,
    WrongCounter,
    WrongLog,
    WrongRewriting,
    /// Differs from the annotation with no kernel to decide.
    AgainstAnnotation,
    MessageMissed,
    /// A line of the rewritten program is not there, or its rewriting is not known.
    XlatedMissed,
    RunDiffers,
    /// Likewise, for a reason in a list.
    RunListed,
    Unsupported,
    /// The kernel decides otherwise than its annotation, and we decide as the kernel does.
    AnnotationDiffers,
    AnnotationUnread,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::WrongVerdict => "wrong-verdict",
            Kind::WrongErrno => "wrong-errno",
            Kind::WrongMessage => "wrong-message",
            Kind::WrongCounter => "wrong-counter",
            Kind::WrongLog => "wrong-log",
            Kind::WrongRewriting => "wrong-rewriting",
            Kind::AgainstAnnotation => "against-annotation",
            Kind::MessageMissed => "message-missed",
            Kind::XlatedMissed => "xlated-missed",
            Kind::RunDiffers => "run-differs",
            Kind::RunListed => "run-listed",
            Kind::Unsupported => "unsupported",
            Kind::AnnotationDiffers => "annotation-differs",
            Kind::AnnotationUnread => "annotation-unread",
        }
    }

    /// Ours to answer for: the kernel (or, without one, the annotation) says otherwise.
    pub fn is_wrong(self) -> bool {
        self <= Kind::AgainstAnnotation
    }
}

/// A share of programs or messages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Share {
    pub of: usize,
    pub hits: usize,
}

impl Share {
    fn count(&mut self, hit: bool) {
        self.of += 1;
        self.hits += usize::from(hit);
    }
}

/// What annotations of one way to load say, and how much of it is so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Annotated {
    pub verdict: Share,
    pub messages: Share,
    pub xlated: Share,
}

/// The figures, in the order they are printed.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub programs: usize,
    pub skipped: BTreeMap<String, usize>,
    pub refused: BTreeMap<String, usize>,
    pub not_asked: BTreeMap<String, usize>,
    pub unsupported: usize,
    /// Beside the kernel, over programs it judges.
    pub verdict: Share,
    pub errno: Share,
    pub message: Share,
    pub insns_processed: Share,
    pub counters: Share,
    pub logs: Share,
    /// Accepted programs as both rewrite them, and those of them that hold barriers or masks.
    pub rewritten: Share,
    pub sanitised: Share,
    /// Beside the annotations, as root and without capabilities.
    pub privileged: Annotated,
    pub unprivileged: Annotated,
    /// Messages that both logs hold, or neither.
    pub same_patterns: Share,
    /// The same of lines of rewritten programs.
    pub same_lines: Share,
    pub ignored: usize,
    pub runs: Share,
    pub not_modelled: BTreeMap<String, usize>,
    pub exceptions: Vec<Exception>,
}

impl Tally {
    pub fn of(rows: &[Row]) -> Tally {
        let mut t = Tally { programs: rows.len(), ..Tally::default() };
        for row in rows {
            match &row.outcome {
                Outcome::Refused { why, expected: Some(false) } => {
                    // A failure was expected, and libbpf is who fails.
                    t.annotated(row.way).verdict.count(true);
                    *t.refused.entry(why.clone()).or_default() += 1;
                }
                Outcome::Refused { why, .. } => *t.refused.entry(why.clone()).or_default() += 1,
                Outcome::Skipped(why) => *t.skipped.entry(why.clone()).or_default() += 1,
                Outcome::Judged(j) => t.judged(row, j),
            }
        }
        t.exceptions.sort();
        t
    }

    fn annotated(&mut self, way: Way) -> &mut Annotated {
        match way {
            Way::Privileged => &mut self.privileged,
            Way::Unprivileged => &mut self.unprivileged,
        }
    }

    fn except(&mut self, kind: Kind, row: &Row, reason: String) {
        let program = match row.way {
            Way::Privileged => row.program.clone(),
            Way::Unprivileged => format!("{} @unpriv", row.program),
        };
        let origin = row.origin.clone();
        self.exceptions.push(Exception { kind, origin, program, reason });
    }

    fn judged(&mut self, row: &Row, j: &Judged) {
        self.ignored += j.ignored;
        if let Some(why) = &j.unsupported {
            self.unsupported += 1;
            self.except(Kind::Unsupported, row, why.clone());
        }
        match &j.kernel {
            Ok(_) => self.beside(row, j),
            Err(why) => *self.not_asked.entry(why.clone()).or_default() += 1,
        }
        if let (Some(expected), Some(ours)) = (j.expected, j.ours) {
            self.annotation(row, j, expected, ours);
        }
        self.messages(row, j);
        self.xlated(row, j);
        self.rewriting(row, j);
        self.run(row, j);
    }

    fn beside(&mut self, row: &Row, j: &Judged) {
        let Ok(b) = &j.kernel else { return };
        if b.agreement == Agreement::Unsupported {
            self.verdict.count(false);
            return;
        }
        let same = j.ours == Some(b.kernel_accepts);
        self.verdict.count(same);
        self.errno.count(b.agreement == Agreement::Agree);
        self.message.count(b.messages_equal);
        self.insns_processed.count(b.insns_equal);
        self.counters.count(b.stats_equal);
        if let Some(equal) = b.logs_equal {
            self.logs.count(equal);
        }
        let words = || {
            let quote = |m: &Option<String>| format!("{:?}", m.as_deref().unwrap_or(""));
            format!("ours {}, the kernel's {}", quote(&b.our_message), quote(&b.kernel_message))
        };
        if !same {
            let verdict = if b.kernel_accepts { "accepts" } else { "rejects" };
            self.except(Kind::WrongVerdict, row, format!("the kernel {verdict}; {}", words()));
        } else if b.agreement != Agreement::Agree {
            self.except(Kind::WrongErrno, row, words());
        } else if !b.messages_equal {
            self.except(Kind::WrongMessage, row, words());
        } else if !b.stats_equal {
            self.except(Kind::WrongCounter, row, "counters of the `processed` line".to_string());
        } else if b.logs_equal == Some(false) {
            self.except(Kind::WrongLog, row, "some line of the log".to_string());
        }
    }

    fn rewriting(&mut self, row: &Row, j: &Judged) {
        let is_sanitised = match &j.rewriting {
            None => return,
            Some(Rewriting::Equal { is_sanitised }) => Some(*is_sanitised),
            Some(Rewriting::NotKnown(why)) => {
                self.except(Kind::XlatedMissed, row, why.to_string());
                None
            }
            Some(Rewriting::Differs(d)) => {
                let why = format!("slot {}: ours {}, the kernel's {}", d.slot, d.ours, d.kernels);
                self.except(Kind::WrongRewriting, row, why);
                self.sanitised.of += usize::from(d.is_sanitised);
                None
            }
        };
        self.rewritten.count(is_sanitised.is_some());
        if is_sanitised == Some(true) {
            self.sanitised.count(true);
        }
    }

    fn annotation(&mut self, row: &Row, j: &Judged, expected: bool, ours: bool) {
        let counted = j.insn_processed.is_none_or(|(said, got)| said == got);
        self.annotated(row.way).verdict.count(expected == ours && counted);
        if expected == ours && counted {
            return;
        }
        let said = match (expected == ours, j.insn_processed) {
            (true, Some((said, got))) => format!("{said} instructions processed, ours {got}"),
            _ if expected => {
                format!("success, ours fails with {:?}", j.our_message.as_deref().unwrap_or(""))
            }
            _ => "failure, ours succeeds".to_string(),
        };
        let (kind, who) = match &j.kernel {
            Ok(b) if b.kernel_accepts == ours && b.insns_equal => {
                (Kind::AnnotationDiffers, "; so does the kernel")
            }
            Ok(_) => return,
            Err(_) => (Kind::AgainstAnnotation, "; the kernel was not asked"),
        };
        self.except(kind, row, format!("the annotation says {said}{who}"));
    }

    fn messages(&mut self, row: &Row, j: &Judged) {
        for m in &j.messages {
            self.annotated(row.way).messages.count(m.ours);
            if let Some(k) = m.kernels {
                self.same_patterns.count(k == m.ours);
            }
            if !m.ours && j.unsupported.is_none() {
                self.except(Kind::MessageMissed, row, missed(m, "log"));
            }
        }
    }

    fn xlated(&mut self, row: &Row, j: &Judged) {
        for m in &j.xlated {
            self.annotated(row.way).xlated.count(m.ours);
            if let Some(k) = m.kernels {
                self.same_lines.count(k == m.ours);
            }
            if !m.ours && j.not_rewritten.is_none() {
                self.except(Kind::XlatedMissed, row, missed(m, "program"));
            }
        }
        if let (Some(why), true) = (&j.not_rewritten, j.unsupported.is_none()) {
            self.except(Kind::XlatedMissed, row, why.to_string());
        }
    }

    fn run(&mut self, row: &Row, j: &Judged) {
        match &j.run {
            None => {}
            Some(Run::NotModelled(why)) => {
                *self.not_modelled.entry(why.clone()).or_default() += 1;
            }
            Some(Run::AsExpected) => self.runs.count(true),
            Some(Run::Differs { expected, got }) => {
                self.runs.count(false);
                let why = format!("should return {expected}, returns {got}");
                self.except(Kind::RunDiffers, row, why);
            }
            Some(Run::Apart(interp, engine)) => {
                self.runs.count(false);
                self.except(Kind::RunDiffers, row, format!("interp {interp}, here {engine}"));
            }
            Some(Run::Trapped(why)) => {
                self.runs.count(false);
                self.except(Kind::RunDiffers, row, format!("stopped: {why}"));
            }
        }
    }

    /// Gives what is not as expected its reason: runs by `ENGINE SOURCE PROGRAM` or `any SOURCE PROGRAM`, verdicts that
    /// no kernel was asked about by `annotation SOURCE PROGRAM`.
    pub fn explain(&mut self, reasons: &Reasons, engine: &str) {
        for e in &mut self.exceptions {
            let (kinds, listed) = match e.kind {
                Kind::RunDiffers => ([engine, "any"], Kind::RunListed),
                Kind::AgainstAnnotation => (["annotation"; 2], Kind::AnnotationDiffers),
                _ => continue,
            };
            let source = e.origin.strip_prefix("progs/").unwrap_or(&e.origin);
            let source = source.split_once(' ').map_or(source, |(source, _)| source);
            let of = |kind: &str| reasons.of(&format!("{kind} {source} {}", e.program));
            if let Some(why) = kinds.into_iter().find_map(of) {
                e.kind = listed;
                e.reason = format!("{} ({why})", e.reason);
            }
        }
        self.exceptions.sort();
    }

    pub fn has_unlisted_run(&self) -> bool {
        self.exceptions.iter().any(|e| e.kind == Kind::RunDiffers)
    }

    pub fn is_wrong(&self) -> bool {
        self.exceptions.iter().any(|e| e.kind.is_wrong())
    }

    /// Name and share of every figure, in order.
    pub fn shares(&self) -> [(&'static str, Share); 17] {
        [
            ("verdict as the kernel's", self.verdict),
            ("errno too", self.errno),
            ("message equal", self.message),
            ("insns_processed equal", self.insns_processed),
            ("all counters equal", self.counters),
            ("log equal", self.logs),
            ("rewritten program equal", self.rewritten),
            ("with barriers or masks", self.sanitised),
            ("verdict as annotated", self.privileged.verdict),
            ("messages in our log", self.privileged.messages),
            ("lines as rewritten", self.privileged.xlated),
            ("unprivileged verdict", self.unprivileged.verdict),
            ("unprivileged messages", self.unprivileged.messages),
            ("unprivileged lines", self.unprivileged.xlated),
            ("in both logs or neither", self.same_patterns),
            ("lines in both or neither", self.same_lines),
            ("results as annotated", self.runs),
        ]
    }

    /// The report as text; `list` exceptions of each kind at most.
    pub fn text(&self, list: usize) -> String {
        let mut out = String::new();
        let mut shown: BTreeMap<Kind, usize> = BTreeMap::new();
        for e in &self.exceptions {
            let n = shown.entry(e.kind).or_default();
            *n += 1;
            if *n <= list {
                let _ =
                    writeln!(out, "{}: {} {}: {}", e.kind.name(), e.origin, e.program, e.reason);
            }
        }
        let lists = [
            ("skipped", &self.skipped),
            ("refused by the loader", &self.refused),
            ("the kernel not asked", &self.not_asked),
            ("not modelled", &self.not_modelled),
        ];
        for (what, reasons) in lists {
            let mut reasons: Vec<_> = reasons.iter().collect();
            reasons.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
            for (why, n) in reasons.into_iter().take(list) {
                let _ = writeln!(out, "{what} {n:5}  {why}");
            }
        }
        let _ = writeln!(out, "{:26} {}", "programs", self.programs);
        let _ = writeln!(out, "{:26} {}", "unsupported", self.unsupported);
        let _ = writeln!(out, "{:26} {}", "expectations not looked at", self.ignored);
        for (what, share) in self.shares().into_iter().filter(|(_, s)| s.of > 0) {
            let percent = 100.0 * share.hits as f64 / share.of as f64;
            let _ = writeln!(out, "{what:26} {} of {} ({percent:.2} %)", share.hits, share.of);
        }
        for (kind, n) in shown {
            let _ = writeln!(out, "{:26} {n}", kind.name());
        }
        out
    }
}

/// A pattern that our text does not answer to, and whether the kernel's does.
fn missed(m: &MessageMatch, text: &str) -> String {
    let who = match m.kernels {
        Some(true) => format!("the kernel's {text} does as it says"),
        Some(false) => format!("nor does the kernel's {text}"),
        None => "the kernel was not asked".to_string(),
    };
    let not = if m.negative { "not " } else { "" };
    format!("{not}{:?}; {who}", m.text)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Outcome, Row, Run, Tally};
    use crate::compare::Agreement;
    use crate::oracle::reasons::Reasons;
    use crate::selftests::annotations::Way;
    use crate::selftests::judge::{Beside, Judged, MessageMatch};

    fn judged(ours: Option<bool>, expected: bool, kernel: Result<bool, &str>) -> Judged {
        let kernel = kernel.map_err(String::from).map(|kernel_accepts| Beside {
            agreement: match ours {
                None => Agreement::Unsupported,
                Some(o) if o == kernel_accepts => Agreement::Agree,
                Some(true) => Agreement::WeAcceptItRejects,
                Some(false) => Agreement::WeRejectItAccepts,
            },
            kernel_accepts,
            messages_equal: true,
            insns_equal: true,
            stats_equal: true,
            logs_equal: None,
            our_message: None,
            kernel_message: None,
        });
        Judged {
            expected: Some(expected),
            ours,
            unsupported: ours.is_none().then(|| "no table".to_string()),
            our_message: None,
            insn_processed: None,
            kernel,
            messages: Vec::new(),
            xlated: Vec::new(),
            not_rewritten: None,
            rewriting: None,
            run: None,
            ignored: 0,
        }
    }

    fn kinds(j: Judged) -> (Vec<Kind>, bool) {
        let row = Row {
            origin: "progs/x.c v3".to_string(),
            program: "p".to_string(),
            prog_type: "xdp",
            way: Way::Privileged,
            outcome: Outcome::Judged(Box::new(j)),
        };
        let tally = Tally::of(&[row]);
        (tally.exceptions.iter().map(|e| e.kind).collect(), tally.is_wrong())
    }

    #[test]
    fn the_kernel_wins_over_the_annotation() {
        assert_eq!(kinds(judged(Some(true), true, Ok(true))), (vec![], false));
        let differs = (vec![Kind::AnnotationDiffers], false);
        assert_eq!(kinds(judged(Some(false), true, Ok(false))), differs);
        assert_eq!(kinds(judged(Some(true), true, Ok(false))), (vec![Kind::WrongVerdict], true));
        assert_eq!(kinds(judged(Some(true), false, Ok(false))), (vec![Kind::WrongVerdict], true));
    }

    #[test]
    fn without_a_kernel_the_annotation_decides() {
        let against = (vec![Kind::AgainstAnnotation], true);
        assert_eq!(kinds(judged(Some(true), false, Err("no root"))), against);
        assert_eq!(kinds(judged(Some(false), false, Err("no root"))), (vec![], false));
    }

    #[test]
    fn a_run_that_differs_wants_a_reason() {
        let row = |program: &str| {
            let mut j = judged(Some(true), true, Ok(true));
            j.run = Some(Run::Differs { expected: 1, got: 2 });
            Row {
                origin: "progs/x.c v3".to_string(),
                program: program.to_string(),
                prog_type: "xdp",
                way: Way::Privileged,
                outcome: Outcome::Judged(Box::new(j)),
            }
        };
        let mut tally = Tally::of(&[row("p"), row("q"), row("r")]);
        let reasons = "x86 x.c p: an address\nany x.c q: a file\narm64 x.c r: none\n";
        let reasons = Reasons::parse(reasons).expect("a list");
        tally.explain(&reasons, "x86");
        let kinds: Vec<_> = tally.exceptions.iter().map(|e| (&*e.program, e.kind)).collect();
        let listed = Kind::RunListed;
        assert_eq!(kinds, [("r", Kind::RunDiffers), ("p", listed), ("q", listed)]);
        assert!(tally.has_unlisted_run());
        assert!(reasons.unused("x86 ").is_empty());
    }

    #[test]
    fn an_annotation_for_another_kernel_has_a_reason() {
        let row = |program: &str| Row {
            origin: "progs/x.c v3".to_string(),
            program: program.to_string(),
            prog_type: "unspec",
            way: Way::Privileged,
            outcome: Outcome::Judged(Box::new(judged(Some(true), false, Err("no root")))),
        };
        let reasons = Reasons::parse("annotation x.c p: a build with error injection\n").unwrap();
        let mut tally = Tally::of(&[row("p")]);
        tally.explain(&reasons, "x86");
        assert_eq!(tally.exceptions[0].kind, Kind::AnnotationDiffers);
        assert!(!tally.is_wrong());
        let mut tally = Tally::of(&[row("q")]);
        tally.explain(&reasons, "x86");
        assert!(tally.is_wrong());
    }

    #[test]
    fn unsupported_is_no_agreement() {
        assert_eq!(kinds(judged(None, true, Ok(true))), (vec![Kind::Unsupported], false));
        let missed = |ours, kernels| {
            let mut j = judged(Some(false), false, Ok(false));
            let text = "text".to_string();
            j.messages = vec![MessageMatch { text, negative: false, ours, kernels }];
            kinds(j).0
        };
        assert_eq!(missed(true, Some(true)), []);
        assert_eq!(missed(false, Some(false)), [Kind::MessageMissed]);
    }
}
