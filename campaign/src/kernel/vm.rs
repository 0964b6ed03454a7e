//! A distribution's kernel in a virtual machine, booted for each batch.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bpfassay_harness::vm::{self, Event, Image, Options, Request};

use super::guest::{heard, Line};
use super::{Answer, Kernel, Question};

/// A kernel that is booted with this program as its first process.
pub struct Machine {
    release: String,
    image: Image,
    folder: PathBuf,
    options: Options,
}

impl Machine {
    /// `folder` takes the batch that is being asked.
    pub fn new(release: &str, image: Image, folder: PathBuf, patience: Duration) -> Machine {
        let options = Options { limit: patience, ..Options::default() };
        Machine { release: release.to_string(), image, folder, options }
    }
}

impl Kernel for Machine {
    fn name(&self) -> &str {
        &self.release
    }

    fn release(&self) -> Option<&str> {
        Some(&self.release)
    }

    fn ask(&mut self, questions: &[Question<'_>]) -> Result<Vec<Answer>, String> {
        let batch = self.folder.join(format!("{}-batch.jsonl", self.release));
        let mut text = String::new();
        for question in questions {
            text += &serde_json::to_string(&Line::of(question)).map_err(|e| e.to_string())?;
            text.push('\n');
        }
        fs::write(&batch, text).map_err(|e| format!("{}: {e}", batch.display()))?;
        let batch = fs::canonicalize(&batch).map_err(|e| format!("{}: {e}", batch.display()))?;
        let command = ["kernels", "load", "--all", &batch.to_string_lossy()].map(str::to_string);
        let request = Request {
            commands: vec![command.to_vec()],
            folder: PathBuf::from("/tmp"),
            seconds: self.options.limit.as_secs(),
            unprivileged_bpf: false,
        };
        let events = vm::run(&self.image, std::slice::from_ref(&batch), &request, &self.options)?;
        let _ = fs::remove_file(&batch);
        let ended = events.iter().find_map(|e| match e {
            Event::Ended { stdout, stderr, .. } => Some((stdout, stderr)),
            _ => None,
        });
        let (said, errors) = ended.ok_or("the virtual machine ran nothing")?;
        let said = String::from_utf8_lossy(said);
        let answers: Vec<Answer> = said.lines().zip(questions).map(|(l, q)| heard(l, q)).collect();
        if answers.len() < questions.len() {
            let (n, all) = (answers.len(), questions.len());
            let why = String::from_utf8_lossy(errors);
            return Err(format!("{n} answers to {all} programs: {}", why.trim()));
        }
        Ok(answers)
    }
}
