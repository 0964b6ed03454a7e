//! Recorded truth: what one kernel answered for every program of one object.
//!
//! Two files per object lie under `truth/<release>/`, at the object's own path: `<object>.json` holds verdicts,
//! messages and statistics, `<object>.txt` the logs, one behind the other, each under a heading of its own.
//! The logs are as the kernel wrote them; comparing masks both sides.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Value of [`ObjectTruth::schema`].
pub const SCHEMA: &str = "bpfassay.truth/1";

/// Begins the heading of one program's log; no line of a log begins so.
const HEADING: &str = "==== ";

/// Answers for one object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ObjectTruth {
    pub schema: String,
    /// `uname -r` of the kernel that answered.
    pub release: String,
    /// Path of the object below the folder that was recorded, with `/` between parts.
    pub object: String,
    /// [`ObjectTruth::hash_of`] its bytes, so that truth of another build is noticed.
    pub hash: String,
    /// Why the loader refused the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In the loader's order.
    pub programs: Vec<ProgramTruth>,
}

/// Answer for one program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramTruth {
    pub name: String,
    pub section: String,
    /// `None` where the loader could not tell.
    pub prog_type: Option<String>,
    pub attach_type: Option<String>,
    pub insn_cnt: u32,
    pub answer: Answer,
    pub message: Option<String>,
    pub message_lines: Vec<String>,
    pub stats: Option<StatsTruth>,
    /// Level of the log kept (`2 | 4` asked for; lower where that log was too long).
    pub log_level: u32,
    /// In the text file beside this one.
    #[serde(skip)]
    pub log: String,
}

/// What came of asking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Answer {
    Accepted,
    Rejected {
        errno: i32,
    },
    /// The loader or the kernel refused something the program needs, so there is no verdict.
    NotAsked {
        why: String,
    },
}

/// The numbers of the `processed` line and of log level 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatsTruth {
    pub insns_processed: u32,
    pub max_states_per_insn: u32,
    pub total_states: u32,
    pub peak_states: u32,
    pub mark_read: u32,
    pub stack_depth: Option<u32>,
    pub verification_us: Option<u64>,
}

impl ObjectTruth {
    /// FNV-1a of 64 bits and the length: tells builds apart, keeps nobody out.
    pub fn hash_of(bytes: &[u8]) -> String {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
        });
        format!("fnv1a64:{hash:016x}:{}", bytes.len())
    }

    /// Program by name, the `nth` of that name (0 for the first).
    pub fn program(&self, name: &str, nth: usize) -> Option<&ProgramTruth> {
        self.programs.iter().filter(|p| p.name == name).nth(nth)
    }

    /// Writes both files below `dir`, making folders.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let (json, text) = files(dir, &self.object);
        if let Some(folder) = json.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut body = serde_json::to_string_pretty(self)?;
        body.push('\n');
        fs::write(json, body)?;
        fs::write(text, self.logs())
    }

    /// Reads both files of `object` below `dir`.
    pub fn read(dir: &Path, object: &str) -> io::Result<ObjectTruth> {
        let (json, text) = files(dir, object);
        let mut truth: ObjectTruth = serde_json::from_str(&fs::read_to_string(json)?)?;
        if truth.schema != SCHEMA {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("schema {}", truth.schema),
            ));
        }
        let logs = fs::read_to_string(text)?;
        let mut parts = split_logs(&logs);
        for p in &mut truth.programs {
            let (heading, log) = parts.next().ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no log of {}", p.name))
            })?;
            if heading != p.name {
                let why = format!("log of {heading} where {} was expected", p.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            log.clone_into(&mut p.log);
        }
        Ok(truth)
    }

    fn logs(&self) -> String {
        let mut out = String::new();
        for p in &self.programs {
            let _ = writeln!(out, "{HEADING}{}", p.name);
            out.push_str(&p.log);
            if !p.log.is_empty() && !p.log.ends_with('\n') {
                out.push('\n');
            }
        }
        out
    }
}

/// All objects recorded below `dir` (`truth/<release>`), by path, ascending.
pub fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(dir.join(&at))? {
            let entry = entry?;
            let path = at.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "json") {
                let parts: Vec<_> = path
                    .with_extension("")
                    .iter()
                    .map(|p| p.to_string_lossy().into_owned())
                    .collect();
                found.push(parts.join("/"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `v3/xdp/pass.o` → `v3/xdp/pass.o.json`, `v3/xdp/pass.o.txt`.
fn files(dir: &Path, object: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{object}.json")), dir.join(format!("{object}.txt")))
}

/// Headings and the text between them.
fn split_logs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let after = rest.strip_prefix(HEADING)?;
        let (heading, body) = after.split_once('\n')?;
        let end = if body.starts_with(HEADING) {
            0
        } else {
            body.find(&format!("\n{HEADING}")).map_or(body.len(), |at| at + 1)
        };
        let (log, next) = body.split_at(end);
        rest = next;
        Some((heading, log))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, log: &str) -> ProgramTruth {
        ProgramTruth {
            name: name.into(),
            section: "tc".into(),
            prog_type: Some("sched_cls".into()),
            attach_type: None,
            insn_cnt: 2,
            answer: Answer::Rejected { errno: 13 },
            message: Some("R0 !read_ok".into()),
            message_lines: vec!["R0 !read_ok".into()],
            stats: None,
            log_level: 6,
            log: log.into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = std::env::temp_dir().join(format!("bpfassay-truth-{}", std::process::id()));
        let truth = ObjectTruth {
            schema: SCHEMA.into(),
            release: "6.18.44".into(),
            object: "v3/a/b.o".into(),
            hash: ObjectTruth::hash_of(b"x"),
            error: None,
            programs: vec![
                program("one", "0: (95) exit\nR0 !read_ok\n"),
                program("none", ""),
                program("two", "x\n\ny\n"),
            ],
        };
        truth.write(&dir).expect("write");
        let listed = list(&dir).expect("list");
        let back = ObjectTruth::read(&dir, "v3/a/b.o");
        fs::remove_dir_all(&dir).expect("clean up");
        assert_eq!(listed, ["v3/a/b.o"]);
        assert_eq!(back.expect("read"), truth);
    }

    #[test]
    fn a_log_of_another_program_is_noticed() {
        let dir = std::env::temp_dir().join(format!("bpfassay-truth-mixed-{}", std::process::id()));
        let mut truth = ObjectTruth {
            schema: SCHEMA.into(),
            release: "6.18.44".into(),
            object: "o".into(),
            hash: ObjectTruth::hash_of(b"x"),
            error: None,
            programs: vec![program("one", "a\n")],
        };
        truth.write(&dir).expect("write");
        fs::write(dir.join("o.txt"), "==== other\na\n").expect("write");
        truth.programs.clear();
        let back = ObjectTruth::read(&dir, "o");
        fs::remove_dir_all(&dir).expect("clean up");
        assert_eq!(back.map_err(|e| e.kind()).err(), Some(io::ErrorKind::InvalidData));
    }
}
