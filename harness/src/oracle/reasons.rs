//! A list of known differences: what is not as expected, and why that is right.
//!
//! One difference a line, `name: reason`; a name may end in `*`.  `#` begins a comment.
//! An entry that nothing needed is as wrong as a difference without one, so that lists do not rot;
//! only what may happen or not has a `?` in front.

use std::cell::Cell;

#[derive(Debug)]
struct Entry {
    name: String,
    reason: String,
    /// Needed, or not bound to be.
    is_used: Cell<bool>,
}

/// The list.
#[derive(Debug, Default)]
pub struct Reasons {
    entries: Vec<Entry>,
}

impl Reasons {
    /// The line that cannot be read is the error.
    pub fn parse(text: &str) -> Result<Reasons, String> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let entry = |line: &str| {
            let (name, reason) = line.split_once(": ").ok_or_else(|| line.to_string())?;
            let (name, may_be) = name.strip_prefix('?').map_or((name, false), |n| (n, true));
            let (name, reason) = (name.to_string(), reason.to_string());
            Ok(Entry { name, reason, is_used: Cell::new(may_be) })
        };
        Ok(Reasons { entries: lines.map(entry).collect::<Result<_, String>>()? })
    }

    /// As [`Reasons::parse`], from a file, which the error names.
    pub fn read(file: &str) -> Result<Reasons, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        Reasons::parse(&text).map_err(|line| format!("{file}: {line}"))
    }

    /// Why this difference is right, if the list says so.
    pub fn of(&self, name: &str) -> Option<&str> {
        let fits = |e: &&Entry| match e.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => e.name == name,
        };
        let entry = self.entries.iter().find(fits)?;
        entry.is_used.set(true);
        Some(&entry.reason)
    }

    /// Entries that nothing asked for, among those whose names begin so.
    pub fn unused(&self, start: &str) -> Vec<&str> {
        let is_unused = |e: &&Entry| !e.is_used.get() && e.name.starts_with(start);
        self.entries.iter().filter(is_unused).map(|e| e.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_the_rest_is_told() {
        let list = "# comment\nv3 a.o x: no test module\n\nv3 b.o *: task\nv4 c.o y: time\n?v4 d.o z: chance\n";
        let list = Reasons::parse(list).unwrap();
        assert_eq!(list.of("v3 a.o x"), Some("no test module"));
        assert_eq!(list.of("v3 b.o anything"), Some("task"));
        assert_eq!(list.of("v3 a.o xy"), None);
        assert_eq!(list.unused(""), ["v4 c.o y"]);
        assert!(list.unused("v3").is_empty());
        assert_eq!(Reasons::parse("no reason here").unwrap_err(), "no reason here");
    }
}
