//! Values of a configuration that are more than a string or a number: limits, thresholds, patterns, trees.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A budget: a number, or a share of the kernel's limit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
    Absolute(u32),
    /// Above 0, at most 100.
    Percent(f64),
}

impl Limit {
    /// The largest value that keeps it, where the kernel's own limit is `of`.
    pub fn allows(self, of: u32) -> u32 {
        match self {
            Limit::Absolute(n) => n,
            Limit::Percent(p) => (f64::from(of) * p / 100.0).floor() as u32,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Absolute(n) => write!(f, "{n}"),
            Limit::Percent(p) => write!(f, "{p} %"),
        }
    }
}

/// `"12.5%"` or `"12.5 %"` as 12.5; None for anything else.
fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| number.parse().ok())?
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Limit, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Limit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a share of the limit such as \"60%\"")
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Limit, E> {
                match u32::try_from(n) {
                    Ok(n) if n > 0 => Ok(Limit::Absolute(n)),
                    _ => Err(E::custom("a budget is a number from 1 to 4294967295")),
                }
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Limit, E> {
                self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
            }
            fn visit_str<E: Error>(self, s: &str) -> Result<Limit, E> {
                match percent(s) {
                    Some(p) if p > 0.0 && p <= 100.0 => Ok(Limit::Percent(p)),
                    Some(_) => Err(E::custom("a share lies above 0% and is at most 100%")),
                    None => Err(E::custom(format!(
                        "`{s}` is no share; write a number, or a share of the limit such as \"60%\""
                    ))),
                }
            }
        }
        d.deserialize_any(V)
    }
}

/// Relative growth, in percent; may exceed 100.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold(pub f64);

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Threshold, D::Error> {
        let text = String::deserialize(d)?;
        let p = percent(&text).filter(|p| p.is_finite() && *p <= 100_000.0).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no threshold; write it as \"10%\""))
        })?;
        Ok(Threshold(p))
    }
}

/// A glob over paths with `/` between folders, on every platform.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: String,
    matcher: GlobSet,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.is_empty() {
            return Err("an empty pattern matches nothing".to_string());
        }
        if text.contains('\\') {
            return Err("write `/` between folders, on every platform".to_string());
        }
        // Patterns and paths are compared in one form.
        let text = text.strip_prefix("./").unwrap_or(text);
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|e| format!("bad glob `{text}`: {}", e.kind()))?;
        // A set says that a pattern is too large or nested too deeply, where a single matcher panics.
        let set = GlobSetBuilder::new().add(glob).build();
        let matcher = set.map_err(|_| "the glob is nested too deeply or too long".to_string())?;
        Ok(Pattern { text: text.to_string(), matcher })
    }

    pub fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }

    /// As [`Pattern::matches`]; a pattern without `/` is held against the file's name.
    pub fn matches_object(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.matches(path) || (!self.text.contains('/') && self.matches(name))
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Pattern, D::Error> {
        // The error is made inside the visitor, so that it gets the place of this very string.
        struct V;
        impl Visitor<'_> for V {
            type Value = Pattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, s: &str) -> Result<Pattern, E> {
                Pattern::new(s).map_err(E::custom)
            }
        }
        d.deserialize_str(V)
    }
}

/// A value of a global variable as written, with its places.
#[derive(Clone, PartialEq, Debug)]
pub enum Tree {
    Bool(bool),
    Int(i64),
    Str(String),
    List(Vec<Spanned<Tree>>),
    /// In the order of the text.
    Table(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl Tree {
    /// The word for it in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Tree::Bool(_) => "a bool",
            Tree::Int(_) => "an integer",
            Tree::Str(_) => "a string",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Tree, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bool, an integer, a string, a list or a table")
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(v))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Tree, E> {
                Ok(Tree::Int(v))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Tree, E> {
                Ok(Tree::Str(v.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Tree, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = a.next_element()? {
                    rows.push(row);
                }
                Ok(Tree::List(rows))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Tree, A::Error> {
                let mut rows: Vec<(Spanned<String>, Spanned<Tree>)> = Vec::new();
                while let Some(row) = a.next_entry()? {
                    rows.push(row);
                }
                rows.sort_by_key(|(k, _)| k.span().start);
                Ok(Tree::Table(rows))
            }
        }
        d.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::{percent, Limit, Pattern};

    #[test]
    fn shares() {
        assert_eq!(percent("60%"), Some(60.0));
        assert_eq!(percent("12.5 %"), Some(12.5));
        for bad in ["60", "%", "-1%", "1e3%", "a%", "1.2.3%", ""] {
            assert_eq!(percent(bad), None, "{bad}");
        }
        assert_eq!(Limit::Percent(50.0).allows(512), 256);
        assert_eq!(Limit::Absolute(7).allows(512), 7);
    }

    #[test]
    fn patterns_keep_to_folders() {
        let p = Pattern::new("build/**/*.o").unwrap();
        assert!(p.matches("build/a.o") && p.matches("build/x/y/a.o"));
        assert!(!p.matches("other/a.o") && !p.matches("build/a.obj"));
        let p = Pattern::new("*.o").unwrap();
        assert!(!p.matches("build/a.o") && p.matches_object("build/a.o"));
        assert!(Pattern::new("./x/*.o").unwrap().matches("x/a.o"));
        for bad in ["", "a\\b.o", "[", "{a,b"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }
}
