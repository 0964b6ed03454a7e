//! Our verifier beside the running kernel, on one program.

use std::time::{Duration, Instant};

use bpfassay_diag::log::{diff, message_lines, Difference, Stats};
use bpfassay_object::model::Program;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

use crate::kernel::{self, KernelError, LoadOptions, LoadOutcome, Session};
use crate::peak;

/// How verdicts relate; the order is from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Agreement {
    Agree,
    /// We do not judge this program.
    Unsupported,
    /// Both reject, with different error numbers.
    ErrnoDiffers,
    WeRejectItAccepts,
    WeAcceptItRejects,
}

impl Agreement {
    /// Every value, best first.
    pub const ALL: [Agreement; 5] = [
        Agreement::Agree,
        Agreement::Unsupported,
        Agreement::ErrnoDiffers,
        Agreement::WeRejectItAccepts,
        Agreement::WeAcceptItRejects,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Agreement::Agree => "agree",
            Agreement::Unsupported => "unsupported",
            Agreement::ErrnoDiffers => "errno-differs",
            Agreement::WeRejectItAccepts => "we-reject-it-accepts",
            Agreement::WeAcceptItRejects => "WE-ACCEPT-IT-REJECTS",
        }
    }

    fn of(ours: &Verdict, theirs: &LoadOutcome) -> Agreement {
        match (ours, theirs.verdict) {
            (Verdict::Unsupported(_), _) => Agreement::Unsupported,
            (Verdict::Accepted, kernel::Verdict::Accepted) => Agreement::Agree,
            (Verdict::Accepted, kernel::Verdict::Rejected) => Agreement::WeAcceptItRejects,
            (Verdict::Rejected(_), kernel::Verdict::Accepted) => Agreement::WeRejectItAccepts,
            (Verdict::Rejected(e), kernel::Verdict::Rejected) if Some(e.0) == theirs.errno => {
                Agreement::Agree
            }
            (Verdict::Rejected(_), kernel::Verdict::Rejected) => Agreement::ErrnoDiffers,
        }
    }
}

/// One program judged by both.
#[derive(Debug)]
pub struct Comparison {
    pub agreement: Agreement,
    /// What we cannot judge.
    pub unsupported: Option<String>,
    pub our_message: Option<String>,
    pub kernel_message: Option<String>,
    /// Counters of the `processed` line, where both printed one.
    pub our_stats: Stats,
    pub kernel_stats: Option<Stats>,
    pub kernel_errno: Option<i32>,
    /// First line that differs; None also where the kernel's log was too long to ask for.
    pub log_difference: Option<Difference>,
    /// False where the kernel's log was asked for at a lower level because of its size.
    pub logs_compared: bool,
    pub our_log: String,
    pub kernel_log: String,
    pub our_time: Duration,
    /// Most memory resident while we judged, bytes; where asked for and known.
    pub our_peak: Option<u64>,
    /// `verification time` of a quiet load.
    pub kernel_time: Option<Duration>,
}

impl Comparison {
    /// The last message lines are the same, or both have none.  Accepted programs have no message.
    pub fn messages_equal(&self) -> bool {
        self.our_message == self.kernel_message
    }

    /// Every counter of the `processed` line is the same.
    pub fn stats_equal(&self) -> bool {
        self.kernel_stats.is_none_or(|k| counters(&k) == counters(&self.our_stats))
    }
}

fn counters(s: &Stats) -> [u32; 4] {
    [s.insns_processed, s.max_states_per_insn, s.total_states, s.peak_states]
}

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Log level compared, as BPF_PROG_LOAD takes it: 1, 2, 4 or their sum.
    pub log_level: u32,
    /// Largest log compared, bytes; 0 compares no logs, only verdicts, messages and counters.
    pub max_log: usize,
    /// Time both on a quiet run as well.
    pub time: bool,
    /// Measure the process's peak memory while we judge; of use only where one program is judged at a time.
    pub memory: bool,
}

/// Judges `program` with both and compares the answers.
pub fn compare(
    program: &Program,
    config: &Config<'_>,
    session: &mut Session,
    options: CompareOptions,
) -> Result<Comparison, KernelError> {
    let (level, max_log) = match options.max_log {
        0 => (kernel::LOG_STATS, 1 << 20),
        n => (options.log_level, n),
    };
    let theirs = session.judge(program, &LoadOptions { log_level: level, max_log })?;
    if theirs.errno == Some(1) && theirs.log.is_empty() {
        let why = "the running kernel refuses it before it verifies (EPERM without a log)";
        return Err(KernelError::Program(why.to_string()));
    }
    let logs_compared = options.max_log != 0 && theirs.log_level == options.log_level;
    let our_level = LogLevel(theirs.log_level);
    let config = Config { log_level: our_level, log_limit: 0, ..config.clone() };
    if options.memory {
        peak::reset();
    }
    let ours = verify(program, &config);
    let our_peak = if options.memory { peak::resident() } else { None };
    let (our_time, kernel_time) =
        if options.time { times(program, &config, session)? } else { (Duration::ZERO, None) };
    let rejected = theirs.verdict == kernel::Verdict::Rejected;
    let kernel_message =
        rejected.then(|| message_lines(&theirs.log).last().map(|s| s.to_string())).flatten();
    let our_message = match ours.verdict {
        Verdict::Rejected(_) => ours.message().map(str::to_string),
        _ => None,
    };
    let unsupported = match &ours.verdict {
        Verdict::Unsupported(what) => Some(what.clone()),
        _ => None,
    };
    let log_difference = if logs_compared { diff(&ours.log, &theirs.log) } else { None };
    Ok(Comparison {
        agreement: Agreement::of(&ours.verdict, &theirs),
        unsupported,
        our_message,
        kernel_message,
        our_stats: Stats {
            insns_processed: ours.stats.insns_processed,
            max_states_per_insn: ours.stats.max_states_per_insn,
            total_states: ours.stats.total_states,
            peak_states: ours.stats.peak_states,
            ..Stats::default()
        },
        kernel_stats: theirs.stats,
        kernel_errno: theirs.errno,
        log_difference,
        logs_compared,
        our_log: ours.log,
        kernel_log: theirs.log,
        our_time,
        our_peak,
        kernel_time,
    })
}

/// Both clocks go on while the processor does something else, so the least of a few counts.
const ROUNDS: usize = 5;

fn times(
    program: &Program,
    config: &Config<'_>,
    session: &mut Session,
) -> Result<(Duration, Option<Duration>), KernelError> {
    let options = LoadOptions { log_level: kernel::LOG_STATS, max_log: 1 << 20 };
    let config = Config { log_level: LogLevel::QUIET, ..config.clone() };
    let (mut ours, mut theirs) = (Duration::MAX, None);
    for _ in 0..ROUNDS {
        let quiet = session.judge(program, &options)?;
        let start = Instant::now();
        let _ = verify(program, &config);
        ours = ours.min(start.elapsed());
        let kernel = quiet.stats.and_then(|s| s.verification_us).map(Duration::from_micros);
        theirs = theirs.map_or(kernel, |t: Duration| kernel.map(|k| k.min(t)));
    }
    Ok((ours, theirs))
}
