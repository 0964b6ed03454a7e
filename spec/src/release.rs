//! Releases of the kernel, and the part of its history in which a fact holds.
//!
//! The only place where releases are compared.  Lines and their order come from `data/lines.toml`.

use crate::generated::lines::LINES;

/// A stable release: `6.18.44` is patch 44 of the line 6.18.  Ordered as upstream numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Release {
    /// Index into the lines.
    line: u8,
    /// 0 for the line's first release.
    patch: u16,
}

impl Release {
    pub(crate) const fn new(line: u8, patch: u16) -> Release {
        Release { line, patch }
    }

    /// The oldest and the newest line that the tables know.
    pub fn lines() -> (&'static str, &'static str) {
        (LINES[0], LINES[LINES.len() - 1])
    }

    /// From `uname -r` or a shorter form: `6.18`, `6.18.44`, `6.18.15+deb13-cloud-amd64`.
    /// None for a line that the tables do not know.
    pub fn parse(text: &str) -> Option<Release> {
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = numbers.splitn(3, '.');
        let (major, minor) = (parts.next()?, parts.next()?);
        let is_line = |l: &&str| l.split_once('.') == Some((major, minor));
        let line = LINES.iter().position(is_line)?;
        let patch = parts.next().map_or("0", |p| p.split('.').next().unwrap_or(p));
        Some(Release { line: u8::try_from(line).ok()?, patch: patch.parse().unwrap_or(0) })
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = LINES.get(usize::from(self.line)).copied().unwrap_or_default();
        match self.patch {
            0 => f.write_str(line),
            patch => write!(f, "{line}.{patch}"),
        }
    }
}

/// A change: when it came upstream, and from which release on stable lines have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Change {
    /// None for a change that only stable lines have.
    pub upstream: Option<Release>,
    /// At most one a line.
    pub backports: &'static [Release],
}

impl Change {
    /// Whether a release has the change.  A line with a backport has it from there on, whatever upstream did.
    pub fn is_in(&self, at: Release) -> bool {
        match self.backports.iter().find(|b| b.line == at.line) {
            Some(from) => at.patch >= from.patch,
            None => self.upstream.is_some_and(|u| at >= u),
        }
    }
}

/// The releases in which a fact holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// None: since before the first line.
    pub since: Option<Change>,
    /// None: to this day.
    pub until: Option<Change>,
}

impl Span {
    pub const ALWAYS: Span = Span { since: None, until: None };

    /// For people: `since 6.19; in stable from 6.12.117, 6.18.20`; empty for a fact without a history.
    pub fn describe(&self) -> String {
        let part = |word: &str, change: &Change| {
            let stable: Vec<String> = change.backports.iter().map(Release::to_string).collect();
            match (change.upstream, stable.is_empty()) {
                (Some(at), true) => format!("{word} {at}"),
                (Some(at), false) => format!("{word} {at}, in stable {word} {}", stable.join(", ")),
                (None, _) => format!("in stable {word} {}", stable.join(", ")),
            }
        };
        let since = self.since.as_ref().map(|c| part("since", c));
        let until = self.until.as_ref().map(|c| part("until", c));
        [since, until].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    pub fn holds(&self, at: Release) -> bool {
        self.since.is_none_or(|c| c.is_in(at)) && !self.until.is_some_and(|c| c.is_in(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Release {
        Release::parse(text).unwrap()
    }

    #[test]
    fn releases_are_in_upstream_order() {
        let order =
            ["5.10", "5.10.262", "5.19", "6.0", "6.9.3", "6.18.15", "6.18.44", "7.0", "7.3.4"];
        assert!(order.map(at).is_sorted());
        assert_eq!(at("6.18.15+deb13-cloud-amd64"), at("6.18.15"));
        assert_eq!(at("6.18-rc1"), at("6.18.0"));
        assert_eq!(at("6.1.192"), Release { patch: 192, ..at("6.1") });
        for unknown in ["2.6.39", "6.20", "8.0", "6", "", "x.y"] {
            assert_eq!(Release::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_backport_decides_its_own_line_only() {
        let backports: &'static [Release] = Box::leak(Box::new([at("6.12.117"), at("6.18.20")]));
        let span = Span {
            since: Some(Change { upstream: Some(at("6.19")), backports }),
            until: Some(Change { upstream: Some(at("7.2")), backports: &[] }),
        };
        for has in ["6.12.117", "6.12.300", "6.18.20", "6.19", "7.1.99"] {
            assert!(span.holds(at(has)), "{has}");
        }
        for lacks in ["5.10.999", "6.12.116", "6.13", "6.17.13", "6.18.19", "7.2", "7.3.4"] {
            assert!(!span.holds(at(lacks)), "{lacks}");
        }
        assert!(Span::ALWAYS.holds(at("5.10")) && Span::ALWAYS.holds(at("7.3")));
    }

    /// A line that was left before the change came back is without it, though later lines have it.
    #[test]
    fn newer_is_no_superset() {
        let backports: &'static [Release] = Box::leak(Box::new([at("5.10.200")]));
        let change = Change { upstream: Some(at("6.19")), backports };
        assert!(change.is_in(at("5.10.201")) && !change.is_in(at("6.17.13")));
        let stable_only = Change { upstream: None, backports };
        assert!(stable_only.is_in(at("5.10.200")) && !stable_only.is_in(at("7.3")));
    }
}
