//! What `run` prints: `bpfassay.run/1`, text, or a histogram over a capture.

use std::collections::BTreeMap;
use std::fs;

use bpfassay_harness::session::{agree, Answer, Run};
use bpfassay_judge as judge;
use bpfassay_object::model::Program;
use serde_json::{json, Value};

use super::{asks, not_read, Args, Format};
use crate::exit::Outcome;

/// One run per engine.
pub fn print(
    answers: &[Answer],
    is_split: bool,
    program: Option<&Program>,
    args: &Args,
) -> Result<Outcome, Outcome> {
    let agree = agree(answers) && !is_split;
    let maps = answers.iter().find_map(|a| a.maps.clone());
    let runs = || answers.iter().flat_map(|a| &a.runs);
    note_children(answers);
    match args.format {
        Format::Json => {
            let runs: Vec<Value> = runs().map(Run::json).collect();
            let mut doc = json!({"schema": "bpfassay.run/1", "runs": runs, "agree": agree});
            if let (Some(maps), Some(d)) = (maps, doc.as_object_mut()) {
                d.insert("maps".to_string(), maps);
            }
            println!("{doc}");
        }
        Format::Answer => println!("{}", json!(answers.first())),
        Format::Text => {
            for run in runs() {
                print_run(run, program, args);
            }
            let is_refused =
                |r: &Run| r.trap.as_ref().is_some_and(|t| t.kind == "input" && t.is_comparable);
            let asks = program.filter(|_| runs().any(is_refused)).and_then(asks::of);
            if let Some(asks) = asks {
                println!("help: {asks}");
            }
            if let Some(maps) = maps {
                println!("{maps:#}");
            }
            if !agree {
                println!("the engines disagree");
            }
        }
    }
    if let (Some(path), Some(run)) = (&args.data_out, runs().next()) {
        fs::write(path, run.data_out.as_deref().unwrap_or_default())
            .map_err(|e| not_read(path, e))?;
    }
    Ok(outcome(answers, agree))
}

/// Says why something did not run in this process.
fn note_children(answers: &[Answer]) {
    if let Some(why) = answers.iter().find_map(|a| a.contained.as_deref()) {
        eprintln!("bpfassay: {why}; it runs in a child process");
    }
}

fn print_run(run: &Run, program: Option<&Program>, args: &Args) {
    if let Some(trap) = &run.trap {
        println!("{}: {}", run.engine, run.answer());
        let at = trap.insn_idx.and_then(|i| u32::try_from(i).ok());
        if let (Some(program), Some(at)) = (program, at) {
            if let Some(text) = judge::insn_text(&program.insns, at) {
                println!("    {at}: {text}");
            }
            if let Some(s) = judge::source_of(program, at) {
                println!("    {}:{}:{}: {}", s.file, s.line, s.column, s.text.trim());
            }
        }
        return;
    }
    println!("{}: {} (r0 = {:#x})", run.engine, run.answer(), run.r0);
    if args.repeat > 1 {
        let compiled = match (run.compile_ns, run.code_bytes) {
            (Some(ns), Some(bytes)) => format!(", compiled in {ns} ns to {bytes} bytes"),
            _ => String::new(),
        };
        println!("    {} ns a run, {} runs{compiled}", run.duration_ns, run.repeat);
    }
}

/// How often each value came back over a capture.
pub fn histogram(
    answers: &[Answer],
    packets: usize,
    is_split: bool,
    args: &Args,
) -> Result<Outcome, Outcome> {
    let agree = agree(answers) && !is_split;
    let count = |a: &Answer| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for run in &a.runs {
            *counts.entry(run.answer()).or_default() += 1;
        }
        counts
    };
    let name = |a: &Answer| a.runs.first().map_or("", |r| r.engine.as_str()).to_string();
    let counts: Vec<_> = answers.iter().map(|a| (name(a), count(a))).collect();
    note_children(answers);
    match args.format {
        Format::Json => {
            let first = counts.first().map(|(_, c)| c);
            let engines: Vec<Value> =
                counts.iter().map(|(e, c)| json!({"engine": e, "retvals": c})).collect();
            let doc =
                json!({"packets": packets, "retvals": first, "engines": engines, "agree": agree});
            println!("{doc}");
        }
        Format::Answer => println!("{}", json!(answers.first())),
        Format::Text => {
            println!("{packets} packets");
            for (engine, counts) in &counts {
                if answers.len() > 1 {
                    println!("{engine}:");
                }
                for (value, n) in counts {
                    println!("{n:>8}  {value}");
                }
            }
            if !agree {
                println!("the engines disagree");
            }
        }
    }
    Ok(outcome(answers, agree))
}

fn outcome(answers: &[Answer], agree: bool) -> Outcome {
    let traps = || answers.iter().flat_map(|a| &a.runs).filter_map(|r| r.trap.as_ref());
    let is_unmodelled = traps().any(|t| t.kind == "input" || !t.is_comparable);
    match (agree, is_unmodelled, traps().next().is_some()) {
        (false, ..) => Outcome::Rejected,
        (_, true, _) => Outcome::NotJudged,
        (_, _, true) => Outcome::Rejected,
        _ => Outcome::Ok,
    }
}
