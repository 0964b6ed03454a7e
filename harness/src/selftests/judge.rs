//! One test program: our verdict beside its annotation and beside the running kernel.

use bpfassay_object::model::Program;
use bpfassay_spec::{ProgInfo, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::rewrite::{verify_and_rewrite, Unknown};
use bpfassay_verifier::{verify, Config, Verdict};

use super::annotations::{Annotations, Expected, Way, ANY_RETVAL, RUN_DATA_LEN};
use super::arrays::ArrayTest;
use super::pattern::{validate, Pattern};
use super::run::{Run, Runner};
use super::xlated;
use crate::compare::{compare, Agreement, CompareOptions, Comparison};
use crate::kernel::{Session, LOG_STATS};
use crate::rewriting::{self, Addresses, Rewriting};

/// What a test says should happen.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// Success or failure; None where nothing is said.
    pub success: Option<bool>,
    pub messages: Vec<Pattern>,
    /// Level the messages are looked for at if the load succeeds, and if it fails; 0 is an empty log.
    pub levels: [u32; 2],
    pub insn_processed: Option<u32>,
    /// Flags added to the program's own.
    pub flags: u32,
    pub retval: Option<i32>,
    /// What a run is given.
    pub data: Vec<u8>,
    /// Lines of the rewritten program.
    pub xlated: Vec<Pattern>,
    /// Expectations of kinds that are counted, not looked at: machine code, streams.
    pub ignored: usize,
    /// Why it does not apply here.
    pub skip: Option<String>,
    /// Annotations that could not be read.
    pub unread: Vec<String>,
}

impl Expectation {
    pub fn of_annotations(a: &Annotations, arch: &str, way: Way) -> Expectation {
        let (p, success): (&Expected, _) = match way {
            Way::Privileged => (&a.privileged, a.expects_success()),
            Way::Unprivileged => (&a.unprivileged, a.expects_success_unprivileged()),
        };
        let skip = if !a.applies_to(arch) {
            Some(match a.arches.as_slice() {
                [] => "for kernels without a JIT only".to_string(),
                arches => format!("for {} only", arches.join(", ")),
            })
        } else {
            a.btf_path.as_ref().map(|b| format!("resolved against {b}"))
        };
        let asked = |patterns: &[Pattern]| match success {
            Some(_) => patterns.to_vec(),
            None => Vec::new(),
        };
        Expectation {
            success,
            messages: asked(a.messages(way)),
            levels: [a.message_level(true), a.message_level(false)],
            insn_processed: None,
            flags: if success.is_some() { a.flags() } else { 0 },
            retval: p.retval.filter(|_| success == Some(true) && !a.is_nonlinear),
            data: vec![0; RUN_DATA_LEN],
            xlated: asked(a.xlated(way)),
            ignored: p.jited + p.streams,
            skip,
            unread: a.unread.clone(),
        }
    }

    pub fn of_array(t: &ArrayTest, way: Way) -> Expectation {
        let said = match way {
            Way::Privileged => &t.privileged,
            Way::Unprivileged => &t.unprivileged,
        };
        let messages = said.messages.iter().filter_map(|m| Pattern::literal(m));
        let retval = t.retval.map(|v| v as i32);
        // The tree's `POINTER_VALUE` of the older tests.
        let retval = retval.map(|v| if v as u32 == 0x00ca_fe4a { ANY_RETVAL } else { v });
        Expectation {
            success: Some(said.accepts),
            messages: messages.collect(),
            levels: [said.log_level; 2],
            insn_processed: t.insn_processed.filter(|_| way == Way::Privileged),
            retval: retval.filter(|_| said.accepts && way == Way::Privileged),
            data: t.data.clone(),
            // The tree's own code has set the flags.
            flags: 0,
            ..Expectation::default()
        }
    }
}

/// One expected message, and whose log holds it.
#[derive(Clone, Debug)]
pub struct MessageMatch {
    pub text: String,
    pub negative: bool,
    pub ours: bool,
    /// None where the kernel was not asked.
    pub kernels: Option<bool>,
}

/// What the kernel's verdict says beside ours.
#[derive(Clone, Debug)]
pub struct Beside {
    pub agreement: Agreement,
    pub kernel_accepts: bool,
    pub messages_equal: bool,
    pub insns_equal: bool,
    pub stats_equal: bool,
    /// None where the log was too long to compare.
    pub logs_equal: Option<bool>,
    pub our_message: Option<String>,
    pub kernel_message: Option<String>,
}

/// The outcome for one program.
#[derive(Clone, Debug)]
pub struct Judged {
    pub expected: Option<bool>,
    /// Our verdict: accepted or not; None where we do not judge, with the reason in `unsupported`.
    pub ours: Option<bool>,
    pub unsupported: Option<String>,
    pub our_message: Option<String>,
    /// Ours, where a test says how many instructions are processed.
    pub insn_processed: Option<(u32, u32)>,
    /// The kernel's side, or why it has none.
    pub kernel: Result<Beside, String>,
    pub messages: Vec<MessageMatch>,
    /// Lines of the rewritten program, and why it is not known where it is not.
    pub xlated: Vec<MessageMatch>,
    pub not_rewritten: Option<Unknown>,
    /// The whole program as rewritten, beside the kernel's, where that was asked for.
    pub rewriting: Option<Rewriting>,
    pub run: Option<Run>,
    pub ignored: usize,
}

/// What to do beside judging.
pub struct Options<'a> {
    /// Run accepted programs that say what they return.
    pub run: Option<Runner<'a>>,
    /// Compare what the kernel rewrites, whose addresses these are.
    pub addresses: Option<&'a Addresses>,
    /// Longest log compared.
    pub max_log: usize,
}

/// Judges `program` and compares with what is expected; with a session, the running kernel as well.
pub fn judge(
    program: &Program,
    expectation: &Expectation,
    config: &Config<'_>,
    session: Option<&mut Session>,
    options: &Options<'_>,
) -> Judged {
    // With statistics: if the log is too long, they and the message are what the kernel is asked for.
    let level = expectation.levels[1].max(1) | LOG_STATS;
    let not_asked = Err("not asked".to_string());
    let (mut kernels_xlated, mut rewritten) = (None, None);
    // What the flag adds is random, and no line of a test expects it.
    let mut plain = program.clone();
    plain.flags.test_rnd_hi32 = false;
    let asked = session.map_or(not_asked, |s| {
        let what = CompareOptions {
            log_level: level,
            max_log: options.max_log,
            time: false,
            memory: false,
        };
        let compared = compare(program, config, s, what).map_err(|e| e.to_string())?;
        if let (Some(addresses), None) = (options.addresses, compared.kernel_errno) {
            let beside = rewriting::beside(&plain, config, s, addresses);
            rewritten = beside.map_err(|e| e.to_string())?;
        }
        if !expectation.xlated.is_empty() && compared.kernel_errno.is_none() {
            kernels_xlated = s.xlated(&plain).map_err(|e| e.to_string())?;
        }
        Ok(compared)
    });
    let mut out = match &asked {
        Ok(c) => of_comparison(c),
        Err(why) => alone(program, config, level, why),
    };
    let (our_log, kernel_log) = match asked {
        Ok(c) => (c.our_log, Some(c.kernel_log)),
        Err(_) => (std::mem::take(&mut out.log), None),
    };
    let j = &mut out.judged;
    j.expected = expectation.success;
    j.rewriting = rewritten;
    j.ignored = expectation.ignored;
    if j.unsupported.is_none() {
        let visible = |log: String, accepted: bool| match accepted && expectation.levels[0] == 0 {
            true => String::new(),
            false => log,
        };
        let ours = visible(our_log, j.ours == Some(true));
        let kernels = match &j.kernel {
            Ok(b) => kernel_log.map(|l| visible(l, b.kernel_accepts)),
            Err(_) => None,
        };
        j.messages = matches(&expectation.messages, &ours, kernels.as_deref());
    } else {
        j.messages = matches(&expectation.messages, "", None);
        j.messages.iter_mut().for_each(|m| m.ours = false);
    }
    if !expectation.xlated.is_empty() {
        let (_, rewritten) = verify_and_rewrite(&plain, config);
        let text = rewritten.as_ref().map(|slots| xlated::text(slots)).unwrap_or_default();
        j.not_rewritten = rewritten.err();
        let theirs = kernels_xlated.as_deref().map(xlated::text_of);
        j.xlated = matches(&expectation.xlated, &text, theirs.as_deref());
    }
    j.insn_processed = expectation.insn_processed.map(|n| (n, out.insns));
    let may_run = j.ours == Some(true) && has_test_run(program.prog_type);
    if let (true, Some(runner), Some(retval)) = (may_run, &options.run, expectation.retval) {
        j.run = Some(runner.run(program, config, &expectation.data, retval));
    }
    out.judged
}

struct Half {
    judged: Judged,
    insns: u32,
    log: String,
}

fn blank(kernel: Result<Beside, String>) -> Judged {
    Judged {
        expected: None,
        ours: None,
        unsupported: None,
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

fn of_comparison(c: &Comparison) -> Half {
    let kernel_accepts = c.kernel_errno.is_none();
    let insns_equal =
        c.kernel_stats.is_none_or(|k| k.insns_processed == c.our_stats.insns_processed);
    let beside = Beside {
        agreement: c.agreement,
        kernel_accepts,
        messages_equal: c.messages_equal(),
        insns_equal,
        stats_equal: c.stats_equal(),
        logs_equal: c.logs_compared.then_some(c.log_difference.is_none()),
        our_message: c.our_message.clone(),
        kernel_message: c.kernel_message.clone(),
    };
    let ours = match c.agreement {
        Agreement::Unsupported => None,
        Agreement::WeAcceptItRejects => Some(true),
        Agreement::WeRejectItAccepts => Some(false),
        Agreement::Agree | Agreement::ErrnoDiffers => Some(kernel_accepts),
    };
    let judged = Judged {
        ours,
        unsupported: c.unsupported.clone(),
        our_message: c.our_message.clone(),
        ..blank(Ok(beside))
    };
    Half { judged, insns: c.our_stats.insns_processed, log: String::new() }
}

fn alone(program: &Program, config: &Config<'_>, level: u32, why: &str) -> Half {
    let mut judged = blank(Err(why.to_string()));
    if let Some(what) = program.missing.first() {
        judged.unsupported = Some(format!("the profile lacks {what}"));
        return Half { judged, insns: 0, log: String::new() };
    }
    let config = Config { log_level: LogLevel(level), log_limit: 0, ..config.clone() };
    let report = verify(program, &config);
    judged.our_message = report.message().map(str::to_string);
    match report.verdict {
        Verdict::Accepted => judged.ours = Some(true),
        Verdict::Rejected(_) => judged.ours = Some(false),
        Verdict::Unsupported(what) => judged.unsupported = Some(what),
    }
    Half { judged, insns: report.stats.insns_processed, log: report.log }
}

fn matches(patterns: &[Pattern], ours: &str, kernels: Option<&str>) -> Vec<MessageMatch> {
    let by_us = validate(ours, patterns);
    let by_kernel = kernels.map(|l| validate(l, patterns));
    let one = |(i, p): (usize, &Pattern)| MessageMatch {
        text: p.text.clone(),
        negative: p.negative,
        ours: by_us.get(i).copied().unwrap_or(false),
        kernels: by_kernel.as_ref().and_then(|k| k.get(i).copied()),
    };
    patterns.iter().enumerate().map(one).collect()
}

/// Types that `BPF_PROG_TEST_RUN` runs; the tree's loaders pass over the others.
fn has_test_run(t: ProgType) -> bool {
    ProgInfo::of(t).is_some_and(|row| row.test_run.is_some())
}
