//! One example for a code: a program of our own, what the verifier said of it, and what repaired it.

/// The examples, a block each; written from the explanations of the project's own failing programs.
const EXAMPLES: &str = include_str!("examples.txt");

/// What a program did, and what came of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Example {
    pub source: Option<&'static str>,
    /// The rejected instruction.
    pub insn: Option<&'static str>,
    /// The verifier's last words.
    pub says: Vec<&'static str>,
    /// A change with which the program was accepted.
    pub repair: Option<&'static str>,
}

/// The example for a code.
pub fn of(code: &str) -> Option<Example> {
    all().find(|(name, _)| *name == code).map(|(_, e)| e)
}

fn all() -> impl Iterator<Item = (&'static str, Example)> {
    EXAMPLES.split("\n[").filter_map(|block| {
        let (name, rest) = block.trim_start_matches('[').split_once("]\n")?;
        let mut e = Example::default();
        for line in rest.lines() {
            match line.split_once(": ") {
                Some(("source", text)) => e.source = Some(text),
                Some(("insn", text)) => e.insn = Some(text),
                Some(("says", text)) => e.says.push(text),
                Some(("repair", text)) => e.repair = Some(text),
                _ => {}
            }
        }
        Some((name, e))
    })
}

#[cfg(test)]
mod tests {
    use super::{all, of};
    use crate::explain::{block, by_name};

    #[test]
    fn what_an_example_says_has_its_code() {
        for (name, e) in all() {
            assert!(by_name(name).is_some(), "{name} is a code");
            let found = block(e.says.iter().copied()).map(|c| c.name);
            assert_eq!(found, Some(name), "{:?}", e.says);
        }
        assert!(all().count() >= 40);
        assert!(of("register-maybe-null").is_some_and(|e| e.repair.is_some()));
    }
}
