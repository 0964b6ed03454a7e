//! What the verifier's messages mean: one table of message patterns, each with a stable code, a
//! category, a plain explanation and what to change.
//!
//! Works on text alone, so it serves a kernel's own log as well as ours; knows no program and no
//! state.  The categories are those of the newer kernels' `kernel/bpf/diagnostics.c`, with two of
//! our own for what that file does not sort: the verifier's own faults, and loading before any
//! kernel is asked.

mod call;
mod context;
pub mod example;
mod lifetime;
mod load;
mod maps;
mod memory;
mod pattern;
mod policy;
mod program;
mod register;
mod table;
#[cfg(test)]
mod tests;
mod verifier;
mod words;

pub use pattern::matches;

/// What kind of rule was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Category {
    /// A register holds something of the wrong kind.
    Register,
    /// An access that may leave its object.
    Memory,
    /// References, locks, dynptrs and iterators: taken, held, given back.
    Lifetime,
    /// An argument that does not fit the function called.
    Call,
    /// Something that is not allowed here and now: sleeping, locks held, callbacks.
    Context,
    /// The shape of the program: jumps, loops, size, stack, type information.
    Program,
    /// Not allowed for this program type, licence, or user.
    Policy,
    /// The verifier's own fault, or no answer at all.
    Verifier,
    /// The object could not be made into a program; no kernel was asked.
    Load,
    /// A map that the kernel does not make, or that does not take what the object puts into it.
    Map,
}

impl Category {
    pub const ALL: [Category; 10] = [
        Category::Register,
        Category::Memory,
        Category::Lifetime,
        Category::Call,
        Category::Context,
        Category::Program,
        Category::Policy,
        Category::Verifier,
        Category::Load,
        Category::Map,
    ];

    /// First word of every code of the category.
    pub fn prefix(self) -> &'static str {
        match self {
            Category::Register => "register",
            Category::Memory => "memory",
            Category::Lifetime => "lifetime",
            Category::Call => "call",
            Category::Context => "context",
            Category::Program => "program",
            Category::Policy => "policy",
            Category::Verifier => "verifier",
            Category::Load => "load",
            Category::Map => "map",
        }
    }

    /// The kernel's name for it where it has one.
    pub fn title(self) -> &'static str {
        match self {
            Category::Register => "Register Type Safety",
            Category::Memory => "Memory Safety",
            Category::Lifetime => "Resource Lifetime Safety",
            Category::Call => "Call Type Safety",
            Category::Context => "Execution Context Safety",
            Category::Program => "Program Structure",
            Category::Policy => "Policy",
            Category::Verifier => "Verifier Error",
            Category::Load => "Loading",
            Category::Map => "Maps",
        }
    }

    /// Every code of the category.
    pub fn codes(self) -> &'static [Code] {
        match self {
            Category::Register => register::CODES,
            Category::Memory => memory::CODES,
            Category::Lifetime => lifetime::CODES,
            Category::Call => call::CODES,
            Category::Context => context::CODES,
            Category::Program => program::CODES,
            Category::Policy => policy::CODES,
            Category::Verifier => verifier::CODES,
            Category::Load => load::CODES,
            Category::Map => maps::CODES,
        }
    }
}

/// One row: messages that mean the same to whoever has to change the program.
#[derive(Debug)]
pub struct Code {
    /// Stable; begins with [`Category::prefix`].
    pub name: &'static str,
    /// What is wrong, as a title.
    pub title: &'static str,
    /// Message lines, `{}` standing for any text; the pattern with the most literal text decides.
    pub messages: &'static [&'static str],
    /// Lines that only end a block: what is wrong stands in the line before, if that is known.
    pub closing: &'static [&'static str],
    /// Why the verifier minds, in plain words.
    pub why: &'static str,
    /// What to change.
    pub change: &'static str,
}

impl Code {
    const fn new(
        name: &'static str,
        title: &'static str,
        messages: &'static [&'static str],
        why: &'static str,
        change: &'static str,
    ) -> Code {
        Code { name, title, messages, closing: &[], why, change }
    }

    const fn closing(self, closing: &'static [&'static str]) -> Code {
        Code { closing, ..self }
    }

    pub fn category(&self) -> Category {
        let prefix = self.name.split('-').next().unwrap_or("");
        Category::ALL.into_iter().find(|c| c.prefix() == prefix).unwrap_or(Category::Verifier)
    }
}

/// A rejection of which the kernel said nothing.
pub const NO_MESSAGE: &str = "verifier-no-message";
/// A program that was not judged.
pub const NOT_JUDGED: &str = "verifier-not-judged";

/// Every row, by category.
pub fn all() -> impl Iterator<Item = &'static Code> {
    Category::ALL.into_iter().flat_map(|c| c.codes())
}

/// The row of a code.
pub fn by_name(name: &str) -> Option<&'static Code> {
    all().find(|c| c.name == name)
}

/// The row of a loader's kind of refusal (`core`, `map` …).
pub fn load_error(kind: &str) -> Option<&'static Code> {
    let kind = kind.replace('_', "-");
    load::CODES.iter().find(|c| c.name.strip_prefix("load-") == Some(kind.as_str()))
}

/// The row of one message line, and whether the line only closes a block.
pub fn line(message: &str) -> Option<(&'static Code, bool)> {
    table::find(message.trim_end()).map(|(code, closes, _)| (code, closes))
}

/// How much literal text the pattern has that a message of the verifier's is of the form of.
pub fn weight_of(message: &str) -> Option<usize> {
    let (code, _, weight) = table::find(message.trim_end())?;
    (code.category() != Category::Load).then_some(weight)
}

/// The row of a block of message lines that ends a log: that of the last line, or of the one before
/// it where the last only closes.
pub fn block<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<&'static Code> {
    let mut last: Option<&'static Code> = None;
    for text in lines.rev() {
        match (line(text), last) {
            (Some((code, false)), _) => return Some(code),
            (Some((code, true)), None) => last = Some(code),
            (Some((_, true)), Some(_)) => {}
            (None, found) => return found,
        }
    }
    last
}
