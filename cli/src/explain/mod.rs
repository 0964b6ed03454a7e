//! `bpfassay explain`: what a verifier log means, where the value at fault came from, what to change.

mod json;
mod object;
mod pages;
mod text;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bpfassay_ci::report::page::Page;
use bpfassay_diag::explain::{all, by_name, line, Category, Code};
use bpfassay_diag::read::{read_tail, Program, Reading, MOST_BYTES};
use bpfassay_diag::story::{path, Outcome as End, Story};

use bpfassay_judge::explain::{Explanation, Outcome as TriedOutcome, Tried};

use crate::exit::{fail, Outcome};
use crate::out;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpftool prog load prog.o /sys/fs/bpf/x 2>&1 | bpfassay explain
  bpfassay explain loader.log --format json
  bpfassay explain --object prog.o --program parse
  bpfassay explain loader.log --object prog.o --kernel 6.12
  bpfassay explain \"R0 invalid mem access 'map_value_or_null'\"
  bpfassay explain register-maybe-null")]
pub struct Args {
    /// A file with a verifier log (what libbpf, bpftool or a loader printed), a code of a report
    /// such as `register-maybe-null`, or one message in quotes; standard input without one.
    #[arg(value_name = "LOGFILE|CODE|MESSAGE")]
    what: Option<String>,
    /// List every code.
    #[arg(long, conflicts_with = "what")]
    list: bool,
    /// Write a page that shows every step: source, instructions, states, lineage, control flow.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    object: object::ObjectArgs,
    /// `text`, or the contract `bpfassay.explain/1`.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: Args) -> Outcome {
    if args.list {
        return out::text(&list(), Outcome::Ok);
    }
    if args.format == Format::Json {
        out::expect_json(json::SCHEMA);
    }
    let done = match &args.object.object {
        Some(path) => with_object(path, &args),
        None => explain(args.what.as_deref(), &args),
    };
    done.unwrap_or_else(|outcome| outcome)
}

fn list() -> String {
    let mut out = String::new();
    for category in Category::ALL {
        let _ = writeln!(out, "{}", category.title());
        for code in category.codes() {
            let _ = writeln!(out, "  {:<30} {}", code.name, code.title);
        }
    }
    out
}

fn explain(what: Option<&str>, args: &Args) -> Result<Outcome, Outcome> {
    match what.filter(|w| *w != "-" && !PathBuf::from(w).exists()) {
        Some(word) => meaning(word, args),
        None => report(reading(what)?, args),
    }
}

/// The log in a file, or from standard input.
fn reading(what: Option<&str>) -> Result<Reading, Outcome> {
    let read = match what.filter(|w| *w != "-") {
        None => {
            if io::stdin().is_terminal() {
                out::note(
                    "bpfassay: reading a verifier log from standard input; end it with Ctrl-D",
                );
            }
            tail_of(&mut io::stdin().lock())
        }
        Some(path) => tail_of_file(Path::new(path)),
    };
    let (bytes, whole) =
        read.map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", what.unwrap_or("<stdin>"))))?;
    Ok(read_tail(bytes, whole))
}

/// An object's rejections, and what a log says of them.
fn with_object(path: &Path, args: &Args) -> Result<Outcome, Outcome> {
    let log = args.what.as_deref().map(|what| reading(Some(what))).transpose()?;
    let (target, own) = object::judge(path, &args.object)?;
    let kernel = &target.kernel.release;
    let logged: Vec<Story> = log.iter().flat_map(|l| &l.programs).map(Story::of).collect();
    let mut notes = object::disagreements(&logged, &own, kernel);
    notes.extend(log.iter().flat_map(|l| l.notes.clone()));
    if log.is_none() {
        notes.extend(object::notes(&own, kernel));
    }
    if let Some(file) = &args.html {
        let explained = own.iter().filter_map(|o| o.explanation.as_ref());
        let release = format!("Linux {kernel}");
        let all: Vec<Page> = explained.map(|e| Page::of_explanation(e, &release)).collect();
        pages::write(file, &all, &mut notes)?;
    }
    let told: Vec<Told<'_>> = stories(own, logged, kernel);
    let is_known = told.iter().all(|t| t.code().is_some());
    let outcome = if is_known { Outcome::Ok } else { Outcome::NotJudged };
    Ok(print(&told, &notes, &[], args.format, outcome))
}

fn of_object<'a>(e: &Explanation, kernel: &str) -> Told<'a> {
    let tried = e.tried.clone();
    let trial = tried.map(|tried| Trial { tried, kernel: kernel.to_string() });
    Told::Story(Box::new(e.story.clone()), trial)
}

/// The object's own stories; of a log, those of its rejections, told from the object where both agree.
fn stories<'a>(own: Vec<object::Own>, logged: Vec<Story>, kernel: &str) -> Vec<Told<'a>> {
    if logged.is_empty() {
        let explained = own.into_iter().filter_map(|o| o.explanation);
        return explained.map(|e| of_object(&e, kernel)).collect();
    }
    let rejected = logged.into_iter().filter(Story::is_rejection);
    rejected
        .map(|story| {
            let mine = object::partner(&story, &own).and_then(|o| o.explanation.as_ref());
            let mine = mine.filter(|e| e.story.message.last() == story.message.last());
            mine.map_or_else(|| Told::Story(Box::new(story), None), |e| of_object(e, kernel))
        })
        .collect()
}

/// The end of a file, and how long it is.
fn tail_of_file(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut file = std::fs::File::open(path)?;
    let whole = file.metadata()?.len();
    let most = MOST_BYTES as u64;
    if !file.metadata()?.is_file() || whole <= most {
        return tail_of(&mut file);
    }
    // An even place, so that UTF-16 stays in step.
    file.seek(SeekFrom::Start((whole - most) & !1))?;
    let mut bytes = Vec::with_capacity(MOST_BYTES + 1);
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes, whole))
}

/// The end of a stream, and how much there was.
fn tail_of(from: &mut impl Read) -> io::Result<(Vec<u8>, u64)> {
    const CHUNK: usize = 1 << 20;
    let mut chunks: VecDeque<Vec<u8>> = VecDeque::new();
    let (mut whole, mut kept) = (0u64, 0usize);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let n = from.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if n == 0 {
            break;
        }
        (whole, kept) = (whole + n as u64, kept + n);
        chunks.push_back(chunk);
        while kept - chunks.front().map_or(0, Vec::len) >= MOST_BYTES {
            kept -= chunks.pop_front().map_or(0, |c| c.len());
        }
    }
    let mut bytes = Vec::with_capacity(kept);
    while let Some(chunk) = chunks.pop_front() {
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, whole))
}

/// One explanation of the output.
enum Told<'a> {
    Story(Box<Story>, Option<Trial>),
    /// A loader's own words.
    Loader {
        name: Option<&'a str>,
        code: Option<&'static Code>,
        text: &'a str,
    },
}

/// A change that was tried, and for which kernel.
pub struct Trial {
    pub tried: Tried,
    pub kernel: String,
}

impl Trial {
    fn is_verified(&self) -> bool {
        self.tried.outcome == TriedOutcome::Accepted
    }

    /// What came of it, in a sentence.
    fn outcome(&self) -> String {
        self.tried.said(&format!("Linux {}", self.kernel))
    }
}

impl Told<'_> {
    fn code(&self) -> Option<&'static Code> {
        match self {
            Told::Story(s, _) => s.code,
            Told::Loader { code, .. } => *code,
        }
    }
}

fn report(reading: Reading, args: &Args) -> Result<Outcome, Outcome> {
    let mut notes = reading.notes.clone();
    let (mut told, mut pages) = (Vec::new(), Vec::new());
    for program in &reading.programs {
        let story = Story::of(program);
        if args.html.is_some() && story.is_rejection() {
            pages.push(Page::of_log(&story, &path(program)));
        }
        match story.outcome {
            End::Rejected => told.push(Told::Story(Box::new(story), None)),
            End::Accepted => notes.push(format!("{}was accepted: nothing to explain", named(program))),
            End::Cut => notes.push(format!(
                "{}has a log that ends before the verdict: ask for a larger log buffer, or for log level 1",
                named(program)
            )),
        }
    }
    told.extend(loaders(&reading));
    if let Some(file) = &args.html {
        pages::write(file, &pages, &mut notes)?;
    }
    let nothing = told.is_empty() && reading.programs.is_empty();
    if nothing {
        notes.push("no words of the verifier or of a loader in this text are known".to_string());
    }
    let unknown = told.iter().any(|t| t.code().is_none())
        || nothing
        || told.is_empty() && reading.programs.iter().any(Program::is_cut);
    let outcome = if unknown { Outcome::NotJudged } else { Outcome::Ok };
    Ok(print(&told, &notes, &reading.unknown, args.format, outcome))
}

fn print(
    told: &[Told<'_>],
    notes: &[String],
    unknown: &[String],
    format: Format,
    outcome: Outcome,
) -> Outcome {
    match format {
        Format::Text => out::people(|paper| text::render(told, notes, unknown, paper), outcome),
        Format::Json => out::machine(json::render(told, notes, unknown).as_bytes(), outcome),
    }
}

fn named(program: &Program) -> String {
    program.name.as_ref().map_or_else(|| "the program ".to_string(), |n| format!("program `{n}` "))
}

/// A loader's refusals that say why; without any, the first that only says that.
fn loaders(reading: &Reading) -> Vec<Told<'_>> {
    let mut told: Vec<Told<'_>> = Vec::new();
    for r in reading.refusals.iter().filter(|r| r.code.is_some()) {
        let again = told.iter().any(|t| match t {
            Told::Loader { name, code, .. } => {
                *name == r.name.as_deref() && code.map(|c| c.name) == r.code
            }
            Told::Story(..) => false,
        });
        if !again {
            let code = r.code.and_then(by_name);
            told.push(Told::Loader { name: r.name.as_deref(), code, text: &r.text });
        }
    }
    if told.is_empty() && reading.programs.is_empty() {
        told.extend(reading.refusals.first().map(|r| Told::Loader {
            name: r.name.as_deref(),
            code: by_name(bpfassay_diag::read::code_of_errno(&r.text)),
            text: &r.text,
        }));
    }
    told
}

/// A code, or one message.
fn meaning(word: &str, args: &Args) -> Result<Outcome, Outcome> {
    if let Some(code) = by_name(word) {
        return Ok(match args.format {
            Format::Text => out::people(|paper| text::code(code, paper), Outcome::Ok),
            Format::Json => out::machine(json::code(code).as_bytes(), Outcome::Ok),
        });
    }
    let reading = read_tail(word.as_bytes().to_vec(), word.len() as u64);
    let known = line(word).is_some()
        || reading.programs.iter().any(|p| !p.message.is_empty())
        || reading.refusals.iter().any(|r| r.code.is_some());
    if known {
        return report(reading, args);
    }
    let near: Vec<&str> = all().map(|c| c.name).filter(|n| n.contains(word)).collect();
    let hint = match near.as_slice() {
        [] => "`bpfassay explain --list` lists the codes".to_string(),
        names => format!("did you mean {}?", names.join(", ")),
    };
    let shown: String = word.chars().filter(|c| !c.is_control()).take(200).collect();
    let what = format!("`{shown}` is no file, no code and no message known here; {hint}");
    Err(fail(Outcome::NotJudged, what))
}
