//! Where a finding points, as the services that show reports want it: a path from the root of the
//! checkout, `/` separated, a line and a column.

use std::path::{Path, PathBuf};

use crate::gate::outcome::{Finding, GateReport};
use bpfassay_judge::Source;

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Relative to the root where it lies below it.
    pub path: String,
    /// Counts from 1; None for the file as a whole.
    pub line: Option<u32>,
    /// Counts from 1.
    pub column: Option<u32>,
    /// Text of the line.
    pub text: Option<String>,
}

/// Turns the paths that a compiler wrote into paths of the checkout.
///
/// A compiler writes paths as it was given them: absolute, or relative to the folder it ran in, which
/// is usually the root, the object's folder, or one between.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Absolute; None leaves paths as they are.
    root: Option<PathBuf>,
}

impl Places {
    /// `root` is the folder that paths are to be relative to.
    pub fn below(root: &Path) -> Places {
        Places { root: Some(root.to_path_buf()) }
    }

    /// The place of a finding: in the program's source, in the configuration, or the object itself.
    pub fn of(&self, f: &Finding, report: &GateReport) -> Place {
        let config = || self.config(report);
        if let Some(s) = &f.source {
            let object = f.object.as_ref().map(|o| self.object(o, report));
            return Place {
                path: self.source(&s.file, object.as_deref()),
                line: (s.line > 0).then_some(s.line),
                column: (s.line > 0 && s.column > 0).then_some(s.column),
                text: Some(s.text.clone()).filter(|t| !t.is_empty()),
            };
        }
        if let Some(at) = f.config {
            let (line, column) = (Some(at.line.max(1)), Some(at.column.max(1)));
            return Place { path: config(), line, column, text: None };
        }
        let path = f.object.as_ref().map_or_else(config, |o| self.object(o, report));
        Place { path, line: None, column: None, text: None }
    }

    /// The configuration's path from the root.
    pub fn config(&self, report: &GateReport) -> String {
        self.relative(&report.config)
    }

    /// An object's path from the root; the report has it from the configuration's folder.
    pub fn object(&self, path: &str, report: &GateReport) -> String {
        match report.config.rsplit_once('/') {
            Some((folder, _)) if !is_absolute(path) => self.relative(&format!("{folder}/{path}")),
            _ => self.relative(path),
        }
    }

    /// A source file's path from the root.
    pub fn source(&self, file: &str, object: Option<&str>) -> String {
        let file = self.relative(file);
        let (Some(root), false) = (&self.root, is_absolute(&file)) else { return file };
        let mut folder = object.unwrap_or("");
        let mut candidates = vec![file.clone()];
        while let Some((up, _)) = folder.rsplit_once('/') {
            candidates.push(normal(&format!("{up}/{file}")));
            folder = up;
        }
        let found = candidates.into_iter().find(|c| root.join(c).is_file());
        found.unwrap_or(file)
    }

    /// The short form of the place of a line in the headroom report.
    pub fn line_of(&self, s: &Source, object: &str, report: &GateReport) -> String {
        let object = self.object(object, report);
        format!("{}:{}", self.source(&s.file, Some(&object)), s.line)
    }

    fn relative(&self, path: &str) -> String {
        let path = normal(path);
        let Some(root) = &self.root else { return path };
        let root = normal(&root.to_string_lossy());
        let below = path.strip_prefix(root.as_str()).and_then(|p| p.strip_prefix('/'));
        below.map_or_else(|| path.clone(), str::to_string)
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

/// Without `.`, `a/..` and backslashes.
fn normal(path: &str) -> String {
    let path = path.replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let start = if path.starts_with('/') { "/" } else { "" };
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{normal, Places};

    #[test]
    fn paths_are_written_from_the_root() {
        assert_eq!(normal("./a/b/../c.c"), "a/c.c");
        assert_eq!(normal("../a.c"), "../a.c");
        assert_eq!(normal("/x//y/./z"), "/x/y/z");
        assert_eq!(normal("src\\a.c"), "src/a.c");
        let places = Places::below(std::path::Path::new("/w/repo"));
        assert_eq!(places.source("/w/repo/src/a.c", None), "src/a.c");
        assert_eq!(places.source("/w/repo2/a.c", None), "/w/repo2/a.c");
    }

    #[test]
    fn sources_are_looked_for_beside_the_object() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let places = Places::below(root);
        let object = Some("src/report/deep/x.o");
        assert_eq!(places.source("place.rs", object), "src/report/place.rs");
        assert_eq!(places.source("../lib.rs", object), "src/lib.rs");
        assert_eq!(places.source("gone.rs", object), "gone.rs");
    }
}
