//! `bpfassay profile`: a profile of a kernel from its package's files, without booting it.

use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_ci::files;
use bpfassay_harness::profile::package::{profile, Package};

use crate::exit::{fail, Outcome};
use crate::out;

/// Makes a profile from what a distribution's kernel package holds, without booting that kernel.
///
/// What only a running kernel could tell is derived from the release, marked as assumed in the profile, and named in
/// every report that rests on it.  `record --profile` on the machine itself leaves less to assume.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay profile --vmlinux /boot/vmlinuz-$(uname -r) --config /boot/config-$(uname -r) -o here.json
  bpfassay profile --btf vmlinux.btf --config config --release 6.12.57 -o fleet.json
  bpfassay check --profile fleet.json prog.o")]
pub struct Args {
    /// Kernel image: ELF vmlinux, bzImage or arm64 Image, compressed or not.
    #[arg(long, value_name = "FILE", required_unless_present = "btf")]
    vmlinux: Option<PathBuf>,
    /// The kernel's BTF, raw or in an ELF file; needed where the image has none.
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// The configuration file (`/boot/config-…`).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// `System.map`; without it the image's own list of symbols is read.
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// Folder of modules (`*.ko`, also compressed), searched whole; programs may then use their kfuncs and types.
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Take only these modules, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "modules")]
    module: Vec<String>,
    /// The release, as `uname -r` prints it; without it the image's own.
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// CPUs that the machine may ever have (`/sys/devices/system/cpu/possible`).
    #[arg(long, value_name = "N")]
    possible_cpus: Option<u32>,
    /// File to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    make(&args).unwrap_or_else(|why| fail(Outcome::NotJudged, why))
}

fn make(args: &Args) -> Result<Outcome, String> {
    let text = |path: &PathBuf| read(path).map(|b| String::from_utf8_lossy(&b).into_owned());
    let package = Package {
        vmlinux: args.vmlinux.as_deref().map(read).transpose()?,
        btf: args.btf.as_deref().map(read).transpose()?,
        config: text(&args.config)?,
        system_map: args.symbols.as_ref().map(text).transpose()?,
        modules: args
            .modules
            .as_deref()
            .map(|d| modules(d, &args.module))
            .transpose()?
            .unwrap_or_default(),
        release: args.release.clone(),
        possible_cpus: args.possible_cpus,
    };
    let profile = profile(&package)?;
    let json = profile.to_json();
    if let Err(outcome) = out::file(&args.out, &json) {
        return Ok(outcome);
    }
    let mut said = format!(
        "{}: profile of {} for {}, {} bytes\n",
        args.out.display(),
        profile.release,
        profile.arch,
        json.len()
    );
    for line in &profile.assumed {
        said.push_str(&format!("assumed: {line}\n"));
    }
    Ok(out::text(&said, Outcome::Ok))
}

fn at(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    /// Longest file read; a kernel image is some 15 MiB, an uncompressed one with debugging 500.
    const MAX_FILE: u64 = 1 << 30;
    files::read(path, MAX_FILE).map_err(|e| at(path, e))
}

/// Module files below a folder, all or those named.
fn modules(folder: &Path, wanted: &[String]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let plain = |name: &str| name.replace('-', "_");
    let wanted: Vec<String> = wanted.iter().map(|n| plain(n)).collect();
    let mut out = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| at(&folder, e))? {
            let entry = entry.map_err(|e| at(&folder, e))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(path);
                continue;
            }
            let Some((stem, rest)) = name.split_once('.') else { continue };
            let is_module = rest == "ko" || rest.starts_with("ko.");
            if is_module && (wanted.is_empty() || wanted.contains(&plain(stem))) {
                out.push((name, read(&path)?));
            }
        }
    }
    let has =
        |name: &String| out.iter().any(|(file, _)| plain(file).split('.').next() == Some(name));
    match wanted.iter().find(|n| !has(n)) {
        Some(name) => Err(at(folder, format!("no module {name}"))),
        None => Ok(out),
    }
}
