//! `bpfassay explain`: what a verifier log means, where the value at fault came from, what to change.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use bpfassay_ci::report::wrapped;
use bpfassay_diag::explain::{all, by_name, line, logs_in, Category, Code, Explained, Step};

use crate::exit::{fail, Outcome};
use crate::inputs::Input;

#[derive(clap::Args)]
pub struct Args {
    /// A file with a verifier log (what libbpf, bpftool or a loader printed), a code of a report
    /// such as `register-maybe-null`, or one message in quotes; standard input without one.
    #[arg(value_name = "LOGFILE|CODE|MESSAGE")]
    what: Option<String>,
    /// List every code.
    #[arg(long, conflicts_with = "what")]
    list: bool,
}

pub fn run(args: Args) -> Outcome {
    let told = if args.list { Ok(list()) } else { explain(args.what.as_deref()) };
    match told {
        Ok((text, outcome)) => match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => fail(Outcome::NotJudged, e),
            _ => outcome,
        },
        Err(outcome) => outcome,
    }
}

fn list() -> (String, Outcome) {
    let mut out = String::new();
    for category in Category::ALL {
        let _ = writeln!(out, "{}", category.title());
        for code in category.codes() {
            let _ = writeln!(out, "  {:<30} {}", code.name, code.title);
        }
    }
    (out, Outcome::Ok)
}

fn explain(what: Option<&str>) -> Result<(String, Outcome), Outcome> {
    let input = match what {
        None | Some("-") => {
            if std::io::stdin().is_terminal() {
                eprintln!(
                    "bpfassay: reading a verifier log from standard input; end it with Ctrl-D"
                );
            }
            Input::Stdin
        }
        Some(word) => {
            let path = PathBuf::from(word);
            if !path.exists() {
                return meaning(word);
            }
            Input::File(path)
        }
    };
    let bytes =
        input.read().map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", input.display())))?;
    log(&String::from_utf8_lossy(&bytes), &input.display())
}

/// A code, or one message.
fn meaning(word: &str) -> Result<(String, Outcome), Outcome> {
    let mut out = String::new();
    if let Some(code) = by_name(word) {
        row(&mut out, code);
        let messages: Vec<&&str> = code.messages.iter().chain(code.closing).collect();
        if !messages.is_empty() {
            let _ = writeln!(out, "\nThe kernel's words for it:");
        }
        for m in messages {
            let _ = writeln!(out, "  {}", m.replace("{}", "…"));
        }
    } else if let Some((code, _)) = line(word) {
        row(&mut out, code);
    } else {
        let near: Vec<&str> = all().map(|c| c.name).filter(|n| n.contains(word)).collect();
        let hint = match near.as_slice() {
            [] => "`bpfassay explain --list` lists the codes".to_string(),
            names => format!("did you mean {}?", names.join(", ")),
        };
        let what = format!("`{word}` is no file, no code and no message known here; {hint}");
        return Err(fail(Outcome::NotJudged, what));
    }
    Ok((out, Outcome::Ok))
}

fn row(out: &mut String, code: &Code) {
    let _ = writeln!(out, "{}: {} ({})", code.name, code.title, code.category().title());
    paragraph(out, "Why", code.why);
    paragraph(out, "What to change", code.change);
}

fn paragraph(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "\n{title}:");
    for l in wrapped(text).lines() {
        let _ = writeln!(out, "  {l}");
    }
}

fn log(text: &str, name: &str) -> Result<(String, Outcome), Outcome> {
    let mut out = String::new();
    let (mut words, mut known) = (0, 0);
    let logs = logs_in(text);
    for (program, log) in &logs {
        let mut e = Explained::of(log);
        e.program.clone_from(program);
        if e.lines.is_empty() {
            continue;
        }
        if words > 0 {
            out.push('\n');
        }
        words += 1;
        known += usize::from(e.code.is_some());
        one(&mut out, &e);
    }
    if words == 0 {
        let what = format!(
            "{name}: no message of the verifier in it (an accepted program's log has none)"
        );
        return Err(fail(Outcome::NotJudged, what));
    }
    Ok((out, if known == words { Outcome::Ok } else { Outcome::NotJudged }))
}

fn one(out: &mut String, e: &Explained) {
    if let Some(p) = &e.program {
        let _ = writeln!(out, "program `{p}`");
    }
    let _ = writeln!(out, "The kernel says:");
    for l in &e.lines {
        let _ = writeln!(out, "  {l}");
    }
    out.push('\n');
    match e.code {
        Some(code) => row(out, code),
        None => out.push_str("This message is not in the table.\n"),
    }
    if let Some(at) = &e.at {
        let _ = writeln!(out, "\nWhere:");
        place(out, at, None);
    }
    if let (Some(register), false) = (&e.register, e.history.is_empty()) {
        let _ = writeln!(out, "\nHow {register} came to be what it is:");
        for s in &e.history {
            place(out, s, s.value.as_deref());
        }
    }
    if let Some((register, steps)) = e.added.as_ref().filter(|(_, steps)| !steps.is_empty()) {
        let _ = writeln!(out, "\nHow {register}, which was added to it, came to be what it is:");
        for s in steps {
            place(out, s, s.value.as_deref());
        }
    }
}

fn place(out: &mut String, s: &Step, value: Option<&str>) {
    let value = value.map_or(String::new(), |v| format!("  → {v}"));
    let _ = writeln!(out, "  insn {}: {}{value}", s.insn, s.text);
    if let Some(source) = &s.source {
        let _ = writeln!(out, "      {source}");
    }
}
