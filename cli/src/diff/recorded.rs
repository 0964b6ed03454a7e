//! What a kernel said, from any of the forms in which it is written down.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bpfassay_ci::files;
use bpfassay_corpus::truth::{self, Answer, ObjectTruth};
use serde::Deserialize;
use serde_json::Value;

use super::{Side, NOT_ASKED};

/// Answers by object and program.
#[derive(Default)]
pub struct Recorded {
    /// Of each program name, in the order of the object.
    by_object: HashMap<String, HashMap<String, Vec<Side>>>,
}

impl Recorded {
    pub fn read(paths: &[PathBuf]) -> Result<Recorded, String> {
        let mut out = Recorded::default();
        for path in paths {
            let done = if path.is_dir() { out.folder(path) } else { out.file(path) };
            done.map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(out)
    }

    /// As `kernels ask` prints it.
    pub fn of_list(list: &Value) -> Result<Recorded, String> {
        let mut out = Recorded::default();
        out.list(list)?;
        Ok(out)
    }

    /// The answer to the `nth` program of that name.  An object recorded elsewhere is known by the end of its path.
    pub fn find(&self, object: &str, program: &str, nth: usize) -> Option<&Side> {
        let programs = self.by_object.get(object).or_else(|| {
            let is_it = |recorded: &&String| {
                recorded.strip_suffix(object).is_some_and(|rest| rest.ends_with('/'))
            };
            let mut found = self.by_object.keys().filter(is_it);
            // Two that end alike are two objects, and neither is known to be this one.
            let one = found.next().filter(|_| found.next().is_none())?;
            self.by_object.get(one)
        })?;
        programs.get(program)?.get(nth)
    }

    fn add(&mut self, object: &str, program: &str, side: Side) {
        let programs = self.by_object.entry(object.to_string()).or_default();
        programs.entry(program.to_string()).or_default().push(side);
    }

    fn folder(&mut self, folder: &Path) -> Result<(), String> {
        for object in truth::list(folder).map_err(|e| e.to_string())? {
            let truth = ObjectTruth::read(folder, &object).map_err(|e| format!("{object}: {e}"))?;
            self.object(truth);
        }
        Ok(())
    }

    fn object(&mut self, truth: ObjectTruth) {
        for p in &truth.programs {
            let (verdict, errno) = match &p.answer {
                Answer::Accepted => ("accepted", None),
                Answer::Rejected { errno } => ("rejected", Some(*errno)),
                Answer::NotAsked { .. } => (NOT_ASKED, None),
            };
            let side = Side {
                verdict: verdict.to_string(),
                errno,
                message: p.message.clone(),
                insns_processed: p.stats.map(|s| s.insns_processed),
            };
            self.add(&truth.object, &p.name, side);
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), String> {
        let text = files::read_text(path, files::MAX_TEXT * 64).map_err(|e| e.to_string())?;
        if text.trim_start().starts_with('[') {
            return self.list(&serde_json::from_str(&text).map_err(|e| e.to_string())?);
        }
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let value: Value =
                serde_json::from_str(line).map_err(|e| format!("line {}: {e}", n + 1))?;
            self.line(&value);
        }
        Ok(())
    }

    fn list(&mut self, list: &Value) -> Result<(), String> {
        for record in list.as_array().ok_or("no list of records")? {
            let truth = ObjectTruth::deserialize(record).map_err(|e| e.to_string())?;
            self.object(truth);
        }
        Ok(())
    }

    /// Lines about other things than programs are passed over.
    fn line(&mut self, line: &Value) {
        let text = |key: &str| line.get(key).and_then(Value::as_str);
        let number = |key: &str| line.get(key).and_then(Value::as_i64);
        let (Some(object), Some(program)) = (text("object"), text("program")) else { return };
        let verdict = text("verdict").filter(|v| matches!(*v, "accepted" | "rejected"));
        let errno = number("errno").filter(|e| *e != 0).map(|e| e.unsigned_abs() as i32);
        let side = Side {
            verdict: verdict.unwrap_or(NOT_ASKED).to_string(),
            errno,
            message: text("message").map(str::to_string),
            insns_processed: number("processed").map(|n| n as u32),
        };
        self.add(object, program, side);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_loader_are_read_and_found_by_the_end_of_the_path() {
        let mut all = Recorded::default();
        for line in [
            r#"{"kernel": "6.1"}"#,
            r#"{"object": "/x/a/p.o", "program": "f", "verdict": "rejected", "errno": -13, "message": "m", "processed": 4}"#,
            r#"{"object": "/x/b/p.o", "program": "f", "verdict": "accepted", "errno": 0}"#,
        ] {
            all.line(&serde_json::from_str(line).unwrap());
        }
        let f = all.find("a/p.o", "f", 0).unwrap();
        assert_eq!(
            (f.verdict.as_str(), f.errno, f.insns_processed),
            ("rejected", Some(13), Some(4))
        );
        assert_eq!(all.find("b/p.o", "f", 0).unwrap().errno, None);
        assert!(all.find("p.o", "f", 0).is_none(), "two objects end so");
        assert!(all.find("a/p.o", "f", 1).is_none());
    }
}
