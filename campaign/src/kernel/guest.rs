//! Inside a virtual machine: programs of a batch, loaded one after the other and never run.
//!
//! A child loads, and says a line for each program; who waits too long for a line, or sees the child go, counts that
//! program as one without an answer and starts another child behind it.  An answer that was expected is `=`, since a
//! serial line is slow.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

use bpfassay_harness::kernel::{KernelError, LoadOptions, Session};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{MapType, ProgType};
use serde::{Deserialize, Serialize};

use super::{Answer, Question};

/// For one program.
const PATIENCE: Duration = Duration::from_secs(60);
/// Log of a program that is longer is asked for at a lower level.
const MOST_LOG: usize = 16 << 20;

/// A line of a batch.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    prog_type: u32,
    is_sleepable: bool,
    insns: Vec<u64>,
    maps: Vec<[u32; 5]>,
    log_level: u32,
    expected: u64,
}

impl Line {
    pub fn of(q: &Question<'_>) -> Line {
        let p = q.program;
        let map = |m: &MapDef| {
            [m.map_type.number(), m.key_size, m.value_size, m.max_entries, m.map_flags]
        };
        Line {
            prog_type: p.prog_type.number(),
            is_sleepable: p.flags.sleepable,
            insns: p.insns.iter().map(|i| u64::from_le_bytes(i.to_le_bytes())).collect(),
            maps: p.maps.iter().map(map).collect(),
            log_level: q.log_level,
            expected: q.expected.hash(),
        }
    }

    fn program(&self) -> Option<Program> {
        let insns = self.insns.iter().map(|i| RawInsn::from_le_bytes(i.to_le_bytes())).collect();
        let mut program = Program::bare("generated", ProgType::from_number(self.prog_type)?, insns);
        program.flags.sleepable = self.is_sleepable;
        let map = |[kind, key_size, value_size, max_entries, map_flags]: &[u32; 5]| {
            Some(MapDef {
                key_size: *key_size,
                value_size: *value_size,
                max_entries: *max_entries,
                map_flags: *map_flags,
                ..MapDef::bare("m", "m", MapType::from_number(*kind)?)
            })
        };
        program.maps = Arc::new(self.maps.iter().map(map).collect::<Option<_>>()?);
        Some(program)
    }
}

/// An answer on its way: `=` for the expected one, otherwise JSON.
pub(super) fn heard(line: &str, question: &Question<'_>) -> Answer {
    match line {
        "=" => question.expected.clone(),
        _ => serde_json::from_str(line).unwrap_or_else(|_| Answer::none("unreadable")),
    }
}

/// Loads the programs of a batch from number `from` on, and says a line for each.
///
/// # Errors
/// A batch that cannot be read, or a reader that has gone.
pub fn load(batch: &Path, from: usize, out: &mut dyn Write) -> Result<(), String> {
    let mut session = Session::new();
    for line in lines(batch)?.skip(from) {
        let line: Line = serde_json::from_str(&line?).map_err(|e| e.to_string())?;
        let answer = answer(&mut session, &line);
        let said = match answer.is_verdict() && answer.hash() == line.expected {
            true => "=".to_string(),
            false => serde_json::to_string(&answer).unwrap_or_default(),
        };
        writeln!(out, "{said}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn answer(session: &mut Session, line: &Line) -> Answer {
    let Some(program) = line.program() else { return Answer::none("unknown type") };
    let options = LoadOptions { log_level: line.log_level, max_log: MOST_LOG };
    match session.judge(&program, &options) {
        Ok(o) if o.log_level != line.log_level => Answer::none("long log"),
        Ok(o) => Answer::verdict(o.errno.unwrap_or(0), o.log),
        Err(KernelError::Call { what, errno }) => Answer::none(&format!("{what}: errno {errno}")),
        Err(e) => Answer::none(&format!("{e:?}")),
    }
}

fn lines(batch: &Path) -> Result<impl Iterator<Item = Result<String, String>>, String> {
    let file = File::open(batch).map_err(|e| format!("{}: {e}", batch.display()))?;
    Ok(BufReader::new(file).lines().map(|l| l.map_err(|e| e.to_string())))
}

/// Answers a whole batch by children; a line for each program.
///
/// # Errors
/// A batch that cannot be read, a child that cannot be started, or a reader that has gone.
pub fn serve(batch: &Path, out: &mut dyn Write) -> Result<(), String> {
    let programs = lines(batch)?.count();
    let mut done = 0;
    while done < programs {
        let (mut child, said) = start(batch, done)?;
        let why = loop {
            match said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    writeln!(out, "{line}").map_err(|e| e.to_string())?;
                    done += 1;
                }
                Err(RecvTimeoutError::Timeout) => break "no answer in time",
                Err(RecvTimeoutError::Disconnected) => break "the loading process ended",
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        if done < programs {
            let line = serde_json::to_string(&Answer::none(why)).unwrap_or_default();
            writeln!(out, "{line}").map_err(|e| e.to_string())?;
            done += 1;
        }
    }
    Ok(())
}

fn start(batch: &Path, from: usize) -> Result<(Child, Receiver<String>), String> {
    let own = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let mut child = Command::new(own)
        .args(["kernels", "load", "--from", &from.to_string()])
        .arg(batch)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("a child: {e}"))?;
    let stdout = child.stdout.take().ok_or("a child without output")?;
    let (send, said) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    Ok((child, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn a_program_survives_the_way_into_the_machine() {
        for number in 0..200 {
            let case = Source::Seed { seed: 3, number }.case();
            let expected = Answer::verdict(0, "processed 1 insns\n".to_string());
            let q = Question { program: &case.program, log_level: 4, expected };
            let text = serde_json::to_string(&Line::of(&q)).unwrap();
            let line: Line = serde_json::from_str(&text).unwrap();
            let there = line.program().unwrap();
            assert_eq!(there.insns, case.program.insns);
            assert_eq!(there.flags, case.program.flags);
            assert_eq!(there.maps.len(), case.program.maps.len());
        }
    }

    #[test]
    fn the_time_taken_makes_no_difference_and_all_else_does() {
        let of = |errno, log: &str| Answer::verdict(errno, log.to_string()).hash();
        let one = of(13, "R0 !read_ok\nverification time 12 usec\nprocessed 1 insns\n");
        assert_eq!(one, of(13, "R0 !read_ok\nverification time 0 usec\nprocessed 1 insns\n"));
        assert_ne!(one, of(22, "R0 !read_ok\nprocessed 1 insns\n"));
        assert_ne!(one, of(13, "R0 !read_ok\nprocessed 2 insns\n"));
        let map = |address| of(0, &format!("4: (18) r1 = {address}    ; R1=map_ptr(ks=4)\n"));
        assert_eq!(map("0xffff888003a10000"), map("0x0"));
        assert_ne!(map("0x0"), of(0, "5: (18) r1 = 0x0\n"));
    }
}
