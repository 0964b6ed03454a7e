//! `bpfassay kernels`: distribution kernels, fetched and asked in virtual machines.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bpfassay_campaign::kernel::guest;
use bpfassay_harness::vm::{self, agent, fetch, Event, Image, Options, Request};
use bpfassay_judge::served_packages;
use clap::Subcommand;
use serde_json::Value;

use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::out;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay kernels list
  bpfassay kernels fetch 6.12
  bpfassay kernels ask 6.12 --out truth prog.o
  bpfassay kernels run 6.12 -- compare --kernel 6.12 prog.o")]
pub struct Args {
    #[command(subcommand)]
    command: Action,
    /// Folder of the fetched kernels [default: $XDG_CACHE_HOME/bpfassay/kernels, or below ~/.cache].
    #[arg(long, value_name = "DIR", global = true)]
    folder: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Print the served kernels, the packages they come from, and which are fetched.
    #[command(after_help = "Example:\n  bpfassay kernels list")]
    List,
    /// Fetch packages of served kernels with `curl`, and unpack what a virtual machine needs.
    #[command(
        after_help = "Examples:\n  bpfassay kernels fetch 6.12\n  bpfassay kernels fetch 6.12 --deb linux-image.deb"
    )]
    Fetch {
        /// Releases as `list` prints them.
        #[arg(required = true, value_name = "RELEASE")]
        kernels: Vec<String>,
        /// Debian mirror.
        #[arg(long, value_name = "URL", default_value = "https://deb.debian.org/debian")]
        mirror: String,
        /// Mirror of Debian's security archive.
        #[arg(
            long,
            value_name = "URL",
            default_value = "https://security.debian.org/debian-security"
        )]
        security_mirror: String,
        /// Unpack these packages instead of fetching any: kernel, configuration and modules of one release.
        #[arg(long, value_name = "FILE")]
        deb: Vec<PathBuf>,
    },
    /// Load every program of the objects in a kernel and print what it says, as `record` writes it.
    #[command(after_help = "Example:\n  bpfassay kernels ask 6.12 --out truth prog.o")]
    Ask {
        #[arg(value_name = "RELEASE")]
        kernel: String,
        /// Objects, or folders of objects.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Write the records to this folder instead of standard output.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        machine: Machine,
    },
    /// Run one bpfassay command in a kernel, as root: files that it names are copied in, and what it writes below
    /// /out is copied out.
    #[command(
        after_help = "Example:\n  bpfassay kernels run 6.12 -- compare --kernel 6.12 prog.o"
    )]
    Run {
        #[arg(value_name = "RELEASE")]
        kernel: String,
        /// The command without the word `bpfassay`, e.g. `compare --kernel 6.12 prog.o`.
        #[arg(required = true, last = true, value_name = "ARGUMENT")]
        command: Vec<String>,
        /// Folder for the files that it writes below /out.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        machine: Machine,
    },
    /// The side that runs in the virtual machine.
    #[command(hide = true)]
    Agent,
    /// Load the programs of a campaign's batch in this kernel; in a virtual machine only.
    #[command(hide = true)]
    Load {
        batch: PathBuf,
        /// By children, each program with a time limit.
        #[arg(long)]
        all: bool,
        #[arg(long, default_value_t = 0)]
        from: usize,
    },
}

#[derive(clap::Args)]
struct Machine {
    /// Processors of the machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Let those without CAP_BPF load there: set kernel.unprivileged_bpf_disabled to 0.
    #[arg(long)]
    unprivileged_bpf: bool,
    /// Seconds until it is stopped.
    #[arg(long, value_name = "N", default_value_t = 600)]
    time_limit: u64,
    /// How qemu runs the machine: tcg works everywhere, kvm is faster where the host's works.
    #[arg(long, value_name = "ACCEL", default_value = "tcg")]
    accel: String,
    /// Program that emulates.
    #[arg(long, value_name = "PROGRAM", default_value = "qemu-system-x86_64")]
    qemu: String,
}

pub fn run(args: Args) -> Outcome {
    let folder = match args.folder.or_else(cache) {
        Some(folder) => folder,
        None => {
            return fail(Outcome::Usage, "neither HOME nor --folder says where kernels are kept")
        }
    };
    let done = match args.command {
        Action::List => list(&folder),
        Action::Fetch { kernels, mirror, security_mirror, deb } => {
            fetch_all(&folder, &kernels, &mirror, &security_mirror, &deb)
        }
        Action::Ask { kernel, paths, out, machine } => {
            ask(&folder, &kernel, &paths, out.as_deref(), &machine)
        }
        Action::Run { kernel, command, out, machine } => {
            let files = named_files(&command);
            run_in(&folder, &kernel, command, &files, out.as_deref(), &machine).map(
                |(events, outcome)| {
                    let printed = events.iter().filter_map(|e| match e {
                        Event::Ended { stdout, .. } => Some(stdout.as_slice()),
                        _ => None,
                    });
                    out::machine(&printed.collect::<Vec<_>>().concat(), outcome)
                },
            )
        }
        Action::Agent => agent::init().map(|()| Outcome::Ok),
        Action::Load { batch, all, from } => load(&batch, all, from),
    };
    done.unwrap_or_else(|e| fail(Outcome::NotJudged, e))
}

/// Random programs may crash the kernel that loads them, so it must be the agent's.
fn load(batch: &Path, all: bool, from: usize) -> Result<Outcome, String> {
    let first = fs::read("/proc/1/cmdline").unwrap_or_default();
    if !String::from_utf8_lossy(&first).contains("agent") {
        return Err("batches are loaded in virtual machines only".to_string());
    }
    let mut out = out::stream();
    match all {
        true => guest::serve(batch, &mut out)?,
        false => guest::load(batch, from, &mut out)?,
    }
    Ok(Outcome::Ok)
}

pub(crate) fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache"));
    Some(base.or_else(home)?.join("bpfassay/kernels"))
}

fn list(folder: &Path) -> Result<Outcome, String> {
    let mut out = String::new();
    for (name, also, origin, packages) in served_packages() {
        let state = match (packages.is_empty(), fetch::image(&folder.join(name)).is_some()) {
            (true, _) => "no package",
            (false, true) => "fetched",
            (false, false) => "not fetched",
        };
        out.push_str(&format!("{name:<15} {:<10} {state:<12} {origin}\n", also.join(",")));
    }
    Ok(out::text(&out, Outcome::Ok))
}

/// As [`find`], for a machine that qemu plays.
fn find_for_guest(kernel: &str) -> Result<&'static str, String> {
    match find(kernel)?.0 {
        name if name.ends_with("-arm64") => {
            Err(format!("{name} is not booted: guests are x86-64 machines"))
        }
        name => Ok(name),
    }
}

/// The exact release and the packages of a served kernel.
fn find(kernel: &str) -> Result<(&'static str, &'static [&'static str]), String> {
    served_packages()
        .find(|(name, also, _, _)| *name == kernel || also.contains(&kernel))
        .map(|(name, _, _, packages)| (name, packages))
        .ok_or_else(|| {
            format!("no kernel `{kernel}` is served; `bpfassay kernels list` prints them")
        })
}

fn fetch_all(
    folder: &Path,
    kernels: &[String],
    mirror: &str,
    security: &str,
    deb: &[PathBuf],
) -> Result<Outcome, String> {
    let mut said = String::new();
    for kernel in kernels {
        let (name, packages) = find(kernel)?;
        let mut files = deb.to_vec();
        if deb.is_empty() {
            if packages.is_empty() {
                return Err(format!("{name} comes from no package"));
            }
            for path in packages {
                let base = if path.starts_with("pool/updates/") { security } else { mirror };
                let url = format!("{}/{path}", base.trim_end_matches('/'));
                let got = fetch::download(&url, &folder.join("packages")).map_err(|e| {
                    format!("{e}\nMirrors keep the newest packages only; snapshot.debian.org keeps all: \
                             fetch this one there and give it with --deb")
                })?;
                files.push(got);
            }
        }
        let image = fetch::unpack(&files, &folder.join(name))?;
        said.push_str(&format!("{name}: {} with {} modules\n", image.uname, image.modules.len()));
    }
    Ok(out::text(&said, Outcome::Ok))
}

/// The exact release, and its image among the fetched ones.
pub(crate) fn image(folder: &Path, kernel: &str) -> Result<(&'static str, Image), String> {
    let name = find_for_guest(kernel)?;
    let image = fetch::image(&folder.join(name))
        .ok_or_else(|| format!("{name} is not fetched: `bpfassay kernels fetch {name}`"))?;
    Ok((name, image))
}

/// Boots and runs one command; what it says to people goes to standard error, what it prints comes back.
fn run_in(
    folder: &Path,
    kernel: &str,
    command: Vec<String>,
    files: &[PathBuf],
    out: Option<&Path>,
    machine: &Machine,
) -> Result<(Vec<Event>, Outcome), String> {
    let (_, image) = image(folder, kernel)?;
    let request = Request {
        commands: vec![command],
        folder: here(Path::new(".")),
        seconds: machine.time_limit,
        unprivileged_bpf: machine.unprivileged_bpf,
    };
    let options = Options {
        qemu: machine.qemu.clone(),
        accel: machine.accel.clone(),
        cpus: machine.cpus,
        limit: Duration::from_secs(machine.time_limit),
    };
    let events = vm::run(&image, files, &request, &options)?;
    let mut outcome = Outcome::Internal;
    for event in &events {
        match event {
            Event::Ended { status, stderr, .. } => {
                if !stderr.is_empty() {
                    out::note(String::from_utf8_lossy(stderr).trim_end());
                }
                outcome = Outcome::of_status(*status);
            }
            Event::File { path, bytes } => {
                let Some(out) = out else { continue };
                let path = out.join(path);
                let parent = path.parent().unwrap_or(out);
                fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
                out::file(&path, bytes).map_err(|_| "a file could not be written".to_string())?;
            }
            Event::Booted { .. } | Event::Done => {}
        }
    }
    Ok((events, outcome))
}

fn ask(
    folder: &Path,
    kernel: &str,
    paths: &[PathBuf],
    out: Option<&Path>,
    machine: &Machine,
) -> Result<Outcome, String> {
    let inputs = inputs::collect(paths);
    let mut files = Vec::new();
    for input in &inputs {
        match input {
            Input::File(path) => files.push(here(path)),
            Input::Stdin => return Err("an object is a file here, not standard input".to_string()),
            Input::Unreadable(path, why) => return Err(format!("{}: {why}", path.display())),
        }
    }
    if files.is_empty() {
        return Err("no BPF object found".to_string());
    }
    let mut command = vec!["record".to_string(), "--out".to_string(), "/out".to_string()];
    command.extend(files.iter().map(|f| f.to_string_lossy().into_owned()));
    let (events, outcome) = run_in(folder, kernel, command, &files, out, machine)?;
    if out.is_none() {
        let text = serde_json::to_string_pretty(&records(&events)).map_err(|e| e.to_string())?;
        return Ok(out::machine((text + "\n").as_bytes(), outcome));
    }
    Ok(outcome)
}

/// What the kernel says of every program below the roots; `files` are those that the roots hold.
pub(crate) fn recorded(
    folder: &Path,
    kernel: &str,
    roots: &[PathBuf],
    files: &[PathBuf],
) -> Result<Vec<Value>, String> {
    let machine = Machine {
        cpus: 1,
        unprivileged_bpf: false,
        time_limit: 3600,
        accel: "tcg".to_string(),
        qemu: "qemu-system-x86_64".to_string(),
    };
    let mut command = vec!["record".to_string(), "--out".to_string(), "/out".to_string()];
    command.extend(roots.iter().map(|r| here(r).to_string_lossy().into_owned()));
    let files: Vec<PathBuf> = files.iter().map(|f| here(f)).collect();
    let (events, _) = run_in(folder, kernel, command, &files, None, &machine)?;
    Ok(records(&events))
}

/// The record of each object, with the logs of its programs as `log`.
fn records(events: &[Event]) -> Vec<Value> {
    let file = |wanted: &str| {
        events.iter().find_map(|e| match e {
            Event::File { path, bytes } if path == wanted => Some(bytes),
            _ => None,
        })
    };
    let record = |e: &Event| {
        let Event::File { path, bytes } = e else { return None };
        let stem = path.strip_suffix(".json")?;
        let mut record: Value = serde_json::from_slice(bytes).ok()?;
        if let Some(log) = file(&format!("{stem}.txt")) {
            record["log"] = String::from_utf8_lossy(log).into();
        }
        Some(record)
    };
    events.iter().filter_map(record).collect()
}

/// Arguments that name files, and the files of folders that they name.
fn named_files(command: &[String]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    // `PROGRAM=OBJECT:PROGRAM:FUNCTION` names a file too.
    let value = |a: &String| a.split_once('=').map_or(a.clone(), |(_, v)| v.to_string());
    let parts = command.iter().map(value).filter_map(|a| {
        a.match_indices(':').map(|(at, _)| a[..at].to_string()).find(|f| Path::new(f).is_file())
    });
    let arguments = command.iter().cloned().chain(parts);
    for path in arguments.map(|a| here(Path::new(&a))) {
        if path.is_file() {
            out.push(path);
        } else if path.is_dir() {
            out.extend(inputs::collect(&[path]).into_iter().filter_map(|i| match i {
                Input::File(path) => Some(path),
                Input::Stdin | Input::Unreadable(..) => None,
            }));
        }
    }
    out
}

/// The absolute path that a path means here, `..` taken by name: the guest has the same folders.
fn here(path: &Path) -> PathBuf {
    let mut out = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_log() {
        let file = |path: &str, text: &str| Event::File {
            path: path.to_string(),
            bytes: text.as_bytes().to_vec(),
        };
        let events = [
            Event::Booted { release: "6.12".to_string() },
            file("6.12/a.o.json", "{\"object\": \"a.o\"}"),
            file("6.12/a.o.txt", "func#0 @0\n"),
            file("6.12/b.o.json", "{\"object\": \"b.o\"}"),
            Event::Done,
        ];
        let records = records(&events);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["log"], "func#0 @0\n");
        assert_eq!((&records[1]["object"], &records[1]["log"]), (&"b.o".into(), &Value::Null));
    }

    #[test]
    fn a_path_is_taken_from_the_folder_at_hand() {
        let folder = std::env::current_dir().unwrap();
        assert_eq!(here(Path::new("x/../y.o")), folder.join("y.o"));
        assert_eq!(here(Path::new("/a/./b.o")), Path::new("/a/b.o"));
    }
}
