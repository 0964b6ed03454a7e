//! A kernel behind a command.
//!
//! `{batch}` and `{out}` in the command stand for two files.  The batch is a JSON list of programs (`prog_type`,
//! `insns` in hexadecimal, `log_level`, `prog_flags`, `maps`, and `patch`: which instructions load which map); the
//! answer is an object whose `results` has `errno` and `log` for each, in order.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{json, Value};

use super::{Answer, Kernel, Question};

/// A kernel behind a command.
#[derive(Clone, Debug)]
pub struct ByCommand {
    name: String,
    command: String,
    folder: std::path::PathBuf,
    /// For one batch.
    pub patience: Duration,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Answer>,
}

impl ByCommand {
    /// From `NAME=COMMAND`; files go to `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<ByCommand, String> {
        let (name, command) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
        for part in ["{batch}", "{out}"] {
            if !command.contains(part) {
                return Err(format!("the command of {name} does not mention {part}"));
            }
        }
        let patience = Duration::from_secs(600);
        let (name, command) = (name.to_string(), command.to_string());
        Ok(ByCommand { name, command, folder: folder.to_path_buf(), patience })
    }
}

impl Kernel for ByCommand {
    fn name(&self) -> &str {
        &self.name
    }

    fn ask(&mut self, questions: &[Question<'_>]) -> Result<Vec<Answer>, String> {
        let batch = self.folder.join(format!("{}-batch.json", self.name));
        let out = self.folder.join(format!("{}-out.json", self.name));
        let list: Vec<Value> = questions.iter().map(describe).collect();
        let text = serde_json::to_string(&list).map_err(|e| e.to_string())?;
        fs::write(&batch, text).map_err(|e| e.to_string())?;
        let _ = fs::remove_file(&out);
        let words = self.command.split_whitespace().map(|w| {
            w.replace("{batch}", &batch.to_string_lossy()).replace("{out}", &out.to_string_lossy())
        });
        run(&words.collect::<Vec<_>>(), self.patience)?;
        let text = fs::read_to_string(&out).map_err(|e| format!("no answer: {e}"))?;
        let results: Results = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        Ok(results.results)
    }
}

/// Runs a command, but not for ever.
fn run(words: &[String], patience: Duration) -> Result<(), String> {
    let (program, args) = words.split_first().ok_or("an empty command")?;
    let mut child = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{program} ended with {status}")),
            None if start.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{program} gave no answer in {} s", patience.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// `BPF_F_SLEEPABLE`.
const F_SLEEPABLE: u32 = 1 << 4;

fn describe(question: &Question<'_>) -> Value {
    let program = question.program;
    let hex: String =
        program.insns.iter().flat_map(|i| i.to_le_bytes()).map(|b| format!("{b:02x}")).collect();
    let maps: Vec<Value> = program
        .maps
        .iter()
        .map(|m| {
            json!({
                "type": m.map_type as u32,
                "key_size": m.key_size,
                "value_size": m.value_size,
                "max_entries": m.max_entries,
                "flags": m.map_flags,
            })
        })
        .collect();
    let patch: Vec<Value> = (0..program.insns.len())
        .filter(|i| program.insns[*i].is_ld_imm64() && program.insns[*i].src == 1)
        .map(|i| json!({ "insn": i, "map": program.insns[i].imm }))
        .collect();
    json!({
        "prog_type": program.prog_type as u32,
        "insns": hex,
        "log_level": question.log_level,
        "prog_flags": if program.flags.sleepable { F_SLEEPABLE } else { 0 },
        "maps": maps,
        "patch": patch,
    })
}
