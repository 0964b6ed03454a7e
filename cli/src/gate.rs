//! `bpfassay gate`: judge what a configuration names and hold it against the configuration's rules.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use bpfassay_ci::gate::config::Config;
use bpfassay_ci::gate::date::Date;
use bpfassay_ci::gate::error::ConfigError;
use bpfassay_ci::gate::{run as run_gate, Request};
use bpfassay_ci::report::{render, Format, Places};

use crate::exit::{fail, Outcome};

/// Exit status: 0 nothing stands against the build, 1 a program is rejected or a rule is broken,
/// 2 something could not be judged or the configuration is wrong, 3 internal error, 64 usage.
#[derive(clap::Args)]
pub struct Args {
    /// The gate's configuration; its paths are relative to its folder.
    #[arg(long, value_name = "FILE", default_value = "bpfassay.toml")]
    config: PathBuf,
    /// Write the report in this format to a file, `-` for standard output; may be given more than once.
    /// Without it, text on standard output.
    #[arg(long, value_name = "FORMAT=FILE", value_parser = parse_output)]
    output: Vec<(Format, PathBuf)>,
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
    gate(&args).unwrap_or_else(|outcome| outcome)
}

fn gate(args: &Args) -> Result<Outcome, Outcome> {
    let name = args.config.to_string_lossy().replace('\\', "/");
    let text = read(&args.config).map_err(|e| fail(Outcome::NotJudged, format!("{name}: {e}")))?;
    let wrong = |e: ConfigError| {
        eprintln!("{}", config_error(&name, &text, &e));
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
    let report = pool.install(|| run_gate(&request)).map_err(wrong)?;
    let default = [(Format::Text, PathBuf::from("-"))];
    let outputs = if args.output.is_empty() { &default[..] } else { &args.output };
    let places = std::env::current_dir().map_or_else(|_| Places::default(), |d| Places::below(&d));
    for (format, file) in outputs {
        let colour = file.as_os_str() == "-"
            && std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        let text =
            render(&report, *format, &places, colour).map_err(|e| fail(Outcome::Internal, e))?;
        write(file, &text)
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", file.display())))?;
    }
    Ok(match report.exit_code {
        0 => Outcome::Ok,
        1 => Outcome::Rejected,
        2 => Outcome::NotJudged,
        _ => Outcome::Internal,
    })
}

/// Largest configuration read.
const MAX_CONFIG: u64 = 16 << 20;

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_CONFIG).read_to_string(&mut text)?;
    Ok(text)
}

/// A closed pipe ends the output, not the verdict.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if file.as_os_str() != "-" {
        return fs::write(file, text);
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e),
        _ => Ok(()),
    }
}

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
fn config_error(name: &str, text: &str, e: &ConfigError) -> String {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
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
    renderer.render(&[group]).to_string()
}
