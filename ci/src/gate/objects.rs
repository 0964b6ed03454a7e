//! The objects that the configuration's globs name, in a stable order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::gate::config::Config;
use crate::gate::error::ConfigError;
use crate::gate::values::Pattern;

/// A file that a glob matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// As the pattern spells it, `/` separated: relative to the configuration's folder, or absolute.
    pub path: String,
    pub file: PathBuf,
    /// Why it, or the folder it is, cannot be looked at.
    pub error: Option<String>,
}

/// Every file that `objects` matches and `exclude` does not, ascending by path.
///
/// A pattern that matches no file, or none that `exclude` leaves, is an error.
pub fn find(config: &Config, folder: &Path) -> Result<Vec<Found>, ConfigError> {
    let mut found = BTreeMap::new();
    for pattern in &config.objects {
        let span = pattern.span();
        let pattern = pattern.get_ref();
        let matched = files(pattern, folder);
        let none = matched.is_empty();
        let kept: Vec<_> = matched
            .into_iter()
            .filter(|f| !config.exclude.iter().any(|x| x.matches_object(&f.path)))
            .collect();
        if kept.is_empty() {
            let what = if none { "matches no file" } else { "matches excluded files only" };
            return Err(config.error(span, format!("`{}` {what}", pattern.text)));
        }
        for f in kept {
            found.insert(f.path.clone(), f);
        }
    }
    Ok(found.into_values().collect())
}

/// Files that match one pattern.
fn files(pattern: &Pattern, folder: &Path) -> Vec<Found> {
    let text = &pattern.text;
    let is_meta = |part: &str| part.contains(['*', '?', '[', ']', '{', '}', '!']);
    let parts: Vec<&str> = text.split('/').collect();
    let literal = parts.iter().position(|p| is_meta(p)).unwrap_or(parts.len());
    if literal == parts.len() {
        let file = folder.join(text);
        let is_file = file.is_file();
        let found = Found { path: text.clone(), file, error: None };
        return is_file.then_some(found).into_iter().collect();
    }
    // Walk below the part that is no pattern.
    let base = parts[..literal].join("/");
    let root = match base.as_str() {
        "" if text.starts_with('/') => PathBuf::from("/"),
        "" => folder.to_path_buf(),
        base => folder.join(base),
    };
    if !root.is_dir() {
        return Vec::new();
    }
    let deep = parts[literal..].contains(&"**");
    let depth = if deep { usize::MAX } else { parts.len() - literal };
    let prefix = if literal == 0 { String::new() } else { format!("{base}/") };
    let mut found = Vec::new();
    // Links to folders are not followed: a loop would never end.
    for entry in WalkDir::new(&root).min_depth(1).max_depth(depth) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                // A folder that cannot be read may hold objects: that is no pass, and no reason to judge nothing.
                let file = e.path().unwrap_or(&root).to_path_buf();
                let path = file.display().to_string();
                found.push(Found { path, file, error: Some(e.to_string()) });
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let below = entry.path().strip_prefix(&root).unwrap_or(entry.path());
        let below: Vec<_> = below.components().map(|c| c.as_os_str().to_string_lossy()).collect();
        let path = format!("{prefix}{}", below.join("/"));
        if pattern.matches(&path) && entry.path().is_file() {
            found.push(Found { path, file: entry.into_path(), error: None });
        }
    }
    found
}
