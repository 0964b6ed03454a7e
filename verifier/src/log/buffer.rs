//! The log buffer.
//!
//! Level 0 here is not the kernel's silence: messages are always kept, because a
//! rejection is known by them; only instructions and states are left out, and a
//! mark is kept where the kernel would have printed one, so that the trailing
//! block of messages is known without printing the rest.

use std::fmt;

/// `log_level` of BPF_PROG_LOAD as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogLevel(pub u32);

impl LogLevel {
    /// Messages only.
    pub const QUIET: LogLevel = LogLevel(0);
    /// Instructions and states of the failing path (`BPF_LOG_LEVEL1`).
    pub const LEVEL1: LogLevel = LogLevel(1);
    /// Instructions and states of every path (`BPF_LOG_LEVEL2`).
    pub const LEVEL2: LogLevel = LogLevel(2);
    /// Statistics only (`BPF_LOG_STATS`).
    pub const STATS: LogLevel = LogLevel(4);

    /// Level 1 or 2: instructions are printed.
    #[inline]
    pub fn prints_insns(self) -> bool {
        self.0 & 3 != 0
    }

    #[inline]
    pub fn is_level2(self) -> bool {
        self.0 & 2 != 0
    }

    #[inline]
    pub fn has_stats(self) -> bool {
        self.0 & 4 != 0
    }
}

/// The growing log.
#[derive(Debug, Default)]
pub struct Log {
    pub level: LogLevel,
    text: String,
    /// Bytes dropped from the front when `limit` was passed.
    dropped: u64,
    /// Most bytes kept; older ones go first, as the kernel's rolling buffer does.
    limit: usize,
    /// Position after the last thing that is not a message (instruction, state, source, `from … to`, `mark_precise`).
    last_mark: u64,
}

impl Log {
    /// An empty log that keeps at most `limit` bytes (0: no limit).
    pub fn new(level: LogLevel, limit: usize) -> Log {
        Log { level, text: String::new(), dropped: 0, limit, last_mark: 0 }
    }

    /// Position in bytes since the start of the log, for [`Log::reset_to`].
    #[inline]
    pub fn pos(&self) -> u64 {
        self.dropped + self.text.len() as u64
    }

    /// Forgets what was written after `pos` (`bpf_vlog_reset`).
    pub fn reset_to(&mut self, pos: u64) {
        let keep = pos.saturating_sub(self.dropped) as usize;
        if keep < self.text.len() {
            self.text.truncate(keep);
        }
        self.last_mark = self.last_mark.min(self.pos());
    }

    /// Says that what has been written so far (or would have been, when quiet) is no message.
    #[inline]
    pub fn mark_not_message(&mut self) {
        self.last_mark = self.pos();
    }

    /// What was written after the last instruction, state or source line.
    pub fn trailing(&self) -> &str {
        let from = self.last_mark.saturating_sub(self.dropped) as usize;
        self.text.get(from..).unwrap_or("")
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when bytes were dropped from the front.
    pub fn is_truncated(&self) -> bool {
        self.dropped > 0
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn trim(&mut self) {
        // Amortised: drop the older half at once.
        if self.limit != 0 && self.text.len() > 2 * self.limit {
            let mut cut = self.text.len() - self.limit;
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.text.drain(..cut);
            self.dropped += cut as u64;
        }
    }
}

impl fmt::Write for Log {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.text.push_str(s);
        self.trim();
        Ok(())
    }
}

/// Writes to the verifier's log, as the kernel's `verbose()` does.
#[macro_export]
macro_rules! verbose {
    ($env:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($env.log, $($arg)*);
    }};
}

/// Says that the kernel would call this its own bug (`verifier_bug`): the verdict is EFAULT.
#[macro_export]
macro_rules! verifier_bug {
    ($env:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let _ = $env.log.write_str("verifier bug: ");
        let _ = write!($env.log, $($arg)*);
        let _ = $env.log.write_str("\n");
    }};
}
