//! `bpfassay gate`: judge what a configuration names and hold it against the configuration's rules.

use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Snippet};
use bpfassay_ci::files;
use bpfassay_ci::gate::config::Config;
use bpfassay_ci::gate::date::Date;
use bpfassay_ci::gate::error::ConfigError;
use bpfassay_ci::gate::outcome::GateReport;
use bpfassay_ci::gate::{run as run_gate, Request};
use bpfassay_ci::report::page::Page;
use bpfassay_ci::report::{render, Format, Places};

use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::out::{self, Paper};
use crate::progress::Progress;

/// Exit status: 0 nothing stands against the build, 1 a program is rejected or a rule is broken,
/// 2 something could not be judged or the configuration is wrong, 3 internal error, 64 usage.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay gate --init                       # writes bpfassay.toml, to begin with
  bpfassay gate
  bpfassay gate --output text=- --output sarif=bpf.sarif --output junit=bpf.xml
  bpfassay gate --output markdown=summary.md --pages why
  bpfassay gate --update-baseline")]
pub struct Args {
    /// The gate's configuration; its paths are relative to its folder.
    #[arg(long, value_name = "FILE", default_value = "bpfassay.toml")]
    config: PathBuf,
    /// Write the report in this format to a file, `-` for standard output; may be given more than once.
    /// Without it, text on standard output.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = parse_output)]
    output: Vec<(Format, PathBuf)>,
    /// Write a page for every rejection into this folder; the reports lead to them.
    #[arg(long, value_name = "FOLDER")]
    pages: Option<PathBuf>,
    /// Write a configuration for the objects below this folder, and judge nothing.
    #[arg(long, conflicts_with_all = ["output", "update_baseline"])]
    init: bool,
    /// Write the baseline anew, and judge against that.
    #[arg(long)]
    update_baseline: bool,
    /// Programs judged at once; 0 means one per processor.
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    jobs: usize,
    /// Day that exceptions are held against; SOURCE_DATE_EPOCH or the clock otherwise.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    today: Option<Date>,
}

fn parse_output(s: &str) -> Result<(Format, PathBuf), String> {
    let (format, file) = s.split_once('=').ok_or("write FORMAT=FILE")?;
    if file.is_empty() {
        return Err("the file has no name; `-` is standard output".to_string());
    }
    Ok((format.parse()?, PathBuf::from(file)))
}

fn parse_day(s: &str) -> Result<Date, String> {
    Date::parse(s).ok_or_else(|| "expected a day such as 2027-01-31".to_string())
}

pub fn run(args: Args) -> Outcome {
    if args.init {
        return init(&args.config).unwrap_or_else(|outcome| outcome);
    }
    gate(&args).unwrap_or_else(|outcome| outcome)
}

fn gate(args: &Args) -> Result<Outcome, Outcome> {
    let is_json =
        |(format, file): &(Format, PathBuf)| *format == Format::Json && file.as_os_str() == "-";
    if args.output.iter().any(is_json) {
        out::expect_json(bpfassay_ci::gate::outcome::SCHEMA);
    }
    let name = args.config.to_string_lossy().replace('\\', "/");
    let text = read(&args.config).map_err(|e| fail(Outcome::NotJudged, format!("{name}: {e}")))?;
    let wrong = |e: ConfigError| {
        out::remember(&format!("{name}: {e}"));
        out::aside(|paper| config_error(&name, &text, &e, paper));
        Outcome::NotJudged
    };
    let config = Config::parse(&text).map_err(wrong)?;
    let request = Request {
        config: &config,
        config_name: name.clone(),
        folder: args
            .config
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
        today: today(args)?,
        update_baseline: args.update_baseline,
        tool: format!("bpfassay {}", env!("CARGO_PKG_VERSION")),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(crate::exit::MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = Progress::of("judging what the configuration names", None, false);
    let mut report = pool.install(|| run_gate(&request)).map_err(wrong)?;
    drop(bar);
    if let Some(folder) = &args.pages {
        pages(&mut report, folder)?;
    }
    let default = [(Format::Text, PathBuf::from("-"))];
    let outputs = if args.output.is_empty() { &default[..] } else { &args.output };
    let places = std::env::current_dir().map_or_else(|_| Places::default(), |d| Places::below(&d));
    let outcome = match report.exit_code {
        0 => Outcome::Ok,
        1 => Outcome::Rejected,
        2 => Outcome::NotJudged,
        _ => Outcome::Internal,
    };
    // A report that cannot be written keeps none of the others back.
    Ok(outputs
        .iter()
        .fold(outcome, |sum, (format, file)| sum.and(write(&report, *format, file, &places))))
}

/// Writes a page for each rejection that is told, and notes it in the finding.
fn pages(report: &mut GateReport, folder: &Path) -> Result<(), Outcome> {
    std::fs::create_dir_all(folder)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", folder.display())))?;
    let programs = &report.programs;
    for f in report.findings.iter_mut().filter(|f| f.explanation.is_some()) {
        let Some(on) = f.on.first() else { continue };
        let run = programs.iter().find(|p| {
            f.id.as_ref() == Some(&p.id) && p.kernel == on.kernel && p.variant == on.variant
        });
        let Some(e) = run.and_then(|r| r.program.detail.explanation.as_deref()) else { continue };
        let name = format!("{}.html", f.fingerprint.get(..16).unwrap_or(&f.fingerprint));
        let to = folder.join(&name);
        out::file(&to, Page::of_explanation(e, &on.kernel).render())?;
        f.page = Some(to.to_string_lossy().replace('\\', "/"));
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    files::read_text(path, files::MAX_TEXT)
}

fn write(report: &GateReport, format: Format, file: &Path, places: &Places) -> Outcome {
    let make = |paper| render(report, format, places, paper);
    let text = match make(Paper::default()) {
        Ok(text) => text,
        Err(e) => return fail(Outcome::Internal, e),
    };
    if format == Format::Text && file.as_os_str() == "-" {
        return out::people(|paper| make(paper).unwrap_or_default(), Outcome::Ok);
    }
    // Where no format escapes what steers a terminal, it is shown.
    let text = match format {
        Format::Json | Format::Sarif | Format::Gitlab | Format::Junit => text.into(),
        Format::Text | Format::Github | Format::Markdown | Format::Veristat => out::shown(&text),
    };
    out::file_or_stdout(file, text.as_bytes()).err().unwrap_or(Outcome::Ok)
}

/// A configuration to begin with; one that is there stays.
fn init(path: &Path) -> Result<Outcome, Outcome> {
    let name = path.display();
    if path.exists() {
        return Err(fail(Outcome::Usage, format!("{name} is there already")));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let patterns = patterns(folder);
    let list = patterns.iter().map(|p| toml::Value::from(p.as_str()).to_string());
    let list = list.collect::<Vec<_>>().join(", ");
    out::file(path, INITIAL.replace("{objects}", &list))?;
    let said = match patterns.as_slice() {
        [only] if only == DEFAULT_PATTERN => format!("{name}: written; no object is built yet\n"),
        _ => format!("{name}: written; `bpfassay gate` judges {list}\n"),
    };
    Ok(out::text(&said, Outcome::Ok))
}

/// What `objects` is where none are built yet.
const DEFAULT_PATTERN: &str = "build/**/*.o";

/// A pattern for each folder that objects lie in.
fn patterns(folder: &Path) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    for input in inputs::collect(&[folder.to_path_buf()]) {
        let Input::File(file) = input else { continue };
        let below = file.strip_prefix(folder).unwrap_or(&file);
        let parts: Vec<_> = below.components().map(|c| c.as_os_str().to_string_lossy()).collect();
        let ending =
            below.extension().map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
        let (_, folders) = parts.split_last().unwrap_or((&"".into(), &[]));
        let plain = |part: &str| part.replace(['*', '?', '[', ']', '{', '}', '!'], "?");
        let folders: String = folders.iter().map(|f| format!("{}/", plain(f))).collect();
        found.insert(format!("{folders}*{}", plain(&ending)));
    }
    if found.is_empty() {
        found.insert(DEFAULT_PATTERN.to_string());
    }
    found.into_iter().collect()
}

const INITIAL: &str = "\
# What is judged, and what stands against the build: `bpfassay gate`.
# Every key: docs/gate.md.
objects = [{objects}]
kernels = [\"6.18\"]                 # releases, or profiles: `bpfassay profile`, `bpfassay record --profile`

[budget]
insns-processed = \"80%\"            # of the verifier's limit of 1,000,000

# [baseline]                         # compare with what was true before
# file = \"bpfassay-baseline.json\"  # `bpfassay gate --update-baseline` writes it

# [program.NAME]                     # where the application sets it, not the section
# type = \"sched_cls\"
# attach-target = \"do_unlinkat\"

# [map.NAME]
# max-entries = 65536
";

fn today(args: &Args) -> Result<Date, Outcome> {
    if let Some(day) = args.today {
        return Ok(day);
    }
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().ok(),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.ok().map(|d| d.as_secs())
        }
    };
    seconds
        .and_then(Date::of_unix_time)
        .ok_or_else(|| fail(Outcome::Usage, "SOURCE_DATE_EPOCH is no number of seconds since 1970"))
}

/// The error with its line of the configuration, as rejections are shown with theirs.
fn config_error(name: &str, text: &str, e: &ConfigError, paper: Paper) -> String {
    let title = Level::ERROR.primary_title(e.message.as_str());
    let origin = format!("in {name}");
    let mut group = match &e.span {
        Some(span) => {
            let end = span.end.min(text.len());
            let span = span.start.min(end)..end;
            title.element(
                Snippet::source(text).path(name).annotation(AnnotationKind::Primary.span(span)),
            )
        }
        None => title.element(Level::NOTE.message(origin.as_str())),
    };
    if let Some(help) = &e.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    format!("{}\n", paper.renderer().render(&[group]))
}
