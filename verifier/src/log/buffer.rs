//! The log buffer.
//!
//! Level 0 here is not the kernel's silence: messages are always kept, because a
//! rejection is known by them; only instructions and states are left out.
//!
//! What the verifier says of the program is kept apart from the text as well, so that
//! the message does not depend on what else a level prints.

use std::fmt::{self, Write as _};

use bpfassay_diag::log::message_lines;

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
    /// What is written now is no message: an instruction, a state, a source line, `from … to`, `mark_precise`.
    is_aside: bool,
    /// What was said since the last instruction.
    said: Block,
    /// The newest messages that stood together before that.
    earlier: Block,
}

/// Messages that stand together.
#[derive(Debug, Default)]
struct Block {
    text: String,
    /// Where in the log it began.
    start: u64,
}

impl Block {
    fn forget_after(&mut self, pos: u64) {
        if self.start >= pos {
            self.text.clear();
        }
    }
}

impl Log {
    /// An empty log that keeps at most `limit` bytes (0: no limit).
    pub fn new(level: LogLevel, limit: usize) -> Log {
        Log { level, limit, ..Log::default() }
    }

    /// Position in bytes since the start of the log, for [`Log::reset_to`].
    #[inline]
    pub fn pos(&self) -> u64 {
        self.dropped + self.text.len() as u64
    }

    /// Takes back the text written after `pos` (`bpf_vlog_reset`).
    pub fn reset_to(&mut self, pos: u64) {
        let keep = pos.saturating_sub(self.dropped) as usize;
        if keep < self.text.len() {
            self.text.truncate(keep);
        }
    }

    /// A path that began at `pos` is done: what was said on it says nothing of the next.  At level 2 the text stays.
    pub fn leave_path(&mut self, pos: u64) {
        self.said.forget_after(pos);
        self.earlier.forget_after(pos);
        if !self.level.is_level2() {
            self.reset_to(pos);
        }
    }

    /// An instruction or state stands here (or would, if the level printed it): messages before and after it do not
    /// belong together.
    #[inline]
    pub fn end_message(&mut self) {
        if !self.said.text.is_empty() {
            self.close_message();
        }
    }

    #[cold]
    fn close_message(&mut self) {
        if !message_lines(&self.said.text).is_empty() {
            std::mem::swap(&mut self.said, &mut self.earlier);
        }
        self.said.text.clear();
    }

    /// Whether what is written from now on is no message; gives what held before.
    #[inline]
    pub fn set_aside(&mut self, is_aside: bool) -> bool {
        std::mem::replace(&mut self.is_aside, is_aside)
    }

    /// Writes a text with `{name}` filled in from `values`; what has no value stays as it is.
    pub fn fill(&mut self, text: &str, values: &[(&str, &dyn fmt::Display)]) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            let _ = self.write_str(before);
            match values.iter().find(|(n, _)| *n == name) {
                Some((_, value)) => drop(write!(self, "{value}")),
                None => drop(write!(self, "{{{name}}}")),
            }
            rest = behind;
        }
        let _ = self.write_str(rest);
    }

    pub fn say(&mut self, text: &str) {
        let _ = self.write_str(text);
    }

    /// In decimal digits: every verification ends with some, and formatting them takes longer than many a program.
    pub fn say_number(&mut self, mut n: u32) {
        let mut digits = [b'0'; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] += (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.say(std::str::from_utf8(&digits[at..]).unwrap_or(""));
    }

    /// The last messages that stand together, without line ends.
    pub fn last_words(&self) -> Vec<String> {
        let said = message_lines(&self.said.text);
        let lines = if said.is_empty() { message_lines(&self.earlier.text) } else { said };
        lines.into_iter().map(str::to_owned).collect()
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
        if !self.is_aside {
            if self.said.text.is_empty() {
                self.said.start = self.pos();
            }
            self.said.text.push_str(s);
        }
        self.text.push_str(s);
        self.trim();
        Ok(())
    }
}

/// Writes to the verifier's log, as the kernel's `verbose()` does.
#[macro_export]
macro_rules! verbose {
    ($env:expr, words.$id:ident $(, $name:ident = $value:expr)* $(,)?) => {{
        let text = $env.kernel.words.$id;
        $env.log.fill(text, &[$((stringify!($name), &$value as &dyn std::fmt::Display)),*]);
    }};
    ($env:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($env.log, $($arg)*);
    }};
}

/// Writes to the verifier's log what is no message: part of the trace of instructions and states.
#[macro_export]
macro_rules! trace {
    ($env:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let was = $env.log.set_aside(true);
        let _ = write!($env.log, $($arg)*);
        $env.log.set_aside(was);
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
