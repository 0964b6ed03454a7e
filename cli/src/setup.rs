//! The kernel judged for, from `--kernel`, `--profile` and `--btf`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_ci::files::MAX_PROFILE;
use bpfassay_ci::gate::config::Variant;
use bpfassay_ci::gate::kernels::read_profile;
use bpfassay_ci::gate::variant;
pub use bpfassay_judge::{Entry, Target};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::Opened;
use bpfassay_spec::profile::sha256;
use bpfassay_spec::Caps;

use crate::exit::{fail, Outcome};
use crate::inputs;

#[derive(clap::Args, Clone)]
pub struct KernelArgs {
    /// Kernel to judge for: a served release or what it is called for short (6.18 is 6.18.44), as `bpfassay kernels
    /// list` prints them; `--profile` for any other.  `check` takes several, separated by commas, for one table.
    #[arg(long, value_name = "RELEASE", default_value = "6.18", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// Processor of that kernel.
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    pub arch: Arch,
    /// Profile of the kernel, as `record --profile` or `profile` writes it.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// BTF of the kernel (vmlinux first, then modules); replaces the profile's.
    #[arg(long, value_name = "FILE")]
    pub btf: Vec<PathBuf>,
    /// CPUs that the machine may ever have; sizes of maps and the range of CPU numbers hang on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub possible_cpus: Option<u32>,
    /// Capabilities of whoever loads: `all`, `none`, or `bpf`, `net` and `perfmon` joined by `+`.
    #[arg(long, value_name = "CAPS", default_value = "all", value_parser = parse_caps)]
    pub caps: Caps,
    /// `kernel.unprivileged_bpf_disabled` of the machine, where it is not as the kernel boots: 0, 1 or 2.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub unprivileged_bpf_disabled: Option<u8>,
}

fn parse_caps(text: &str) -> Result<Caps, String> {
    Caps::parse(text)
        .ok_or_else(|| "known are all, none, bpf, net and perfmon, joined by +".to_string())
}

/// Processors whose kernels are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Arch {
    X86_64,
    #[value(alias = "aarch64")]
    Arm64,
}

impl Arch {
    /// As `uname -m` names it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Arm64 => "aarch64",
        }
    }
}

#[derive(clap::Args, Clone)]
pub struct Assignments {
    /// Set a global variable before loading, as the application would; `.rodata` unless another section is named.
    /// Numbers, true and false, text, enumerators, lists and members as in the gate's variants.
    #[arg(long = "set", value_name = "[SECTION.]NAME=VALUE")]
    set: Vec<String>,
}

impl Assignments {
    /// The shape of the global data asked for.
    pub fn variant(&self) -> Result<Option<Variant>, Outcome> {
        of_assignments("--set", &self.set)
    }
}

/// The shape that the values of an option describe; none without any.
pub fn of_assignments(option: &str, set: &[String]) -> Result<Option<Variant>, Outcome> {
    if set.is_empty() {
        return Ok(None);
    }
    let made = variant::of_assignments(set);
    made.map(Some).map_err(|why| fail(Outcome::Usage, format!("{option}: {why}")))
}

/// The object with every variable of the shape set.
pub fn in_shape(opened: Opened, shape: &Variant) -> Result<Opened, String> {
    variant::in_shape(&opened, shape)
}

/// Resolves the arguments: `--profile`, or the served build of `--kernel`; `--btf` replaces its BTF.
pub fn target(args: &KernelArgs) -> Result<Target, Outcome> {
    let mut target = match &args.profile {
        Some(path) => of_profile(path)?,
        None => match args.kernel.as_slice() {
            [one] => served_for(one, args.arch)?,
            _ => {
                return Err(fail(
                    Outcome::Usage,
                    "one kernel at a time; `check` and `fleet` take several",
                ))
            }
        },
    };
    for (i, path) in args.btf.iter().enumerate() {
        let bytes = inputs::read(path, MAX_PROFILE)?;
        let btf = Btf::parse(&bytes, if i == 0 { None } else { target.vmlinux.clone() })
            .map_err(|e| not_read(path, e))?;
        let btf = Arc::new(btf);
        if i == 0 {
            target.btf_hash = Some(sha256(&bytes));
            target.vmlinux = Some(btf);
            target.modules.clear();
            target.assumed.push(format!(
                "configuration, symbols and release: those of {}, not of the kernel with this BTF",
                target.profile
            ));
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            target.modules.push((name, btf));
        }
    }
    target.caps = args.caps;
    if let Some(n) = args.unprivileged_bpf_disabled {
        target.kernel.unprivileged_bpf = n == 0;
    }
    if let Some(n) = args.possible_cpus {
        (target.possible_cpus, target.kernel.nr_cpu_ids) = (n, n);
    }
    Ok(target)
}

/// The served kernel of this name for a processor.
pub fn served_for(name: &str, arch: Arch) -> Result<Target, Outcome> {
    match arch {
        Arch::Arm64 if !name.ends_with("-arm64") => served(&format!("{name}-arm64")),
        _ => served(name),
    }
}

fn served(name: &str) -> Result<Target, Outcome> {
    match Target::served(name) {
        Ok(Some(target)) => Ok(target),
        Ok(None) => {
            let served = Target::served_list();
            Err(fail(Outcome::Usage, format!("no kernel `{name}`; served are {served}; `bpfassay profile` describes any other, for --profile")))
        }
        Err(e) => Err(fail(Outcome::Internal, e)),
    }
}

pub fn of_profile(path: &Path) -> Result<Target, Outcome> {
    read_profile(path).map_err(|e| fail(Outcome::NotJudged, e))
}

fn not_read(path: &Path, e: impl std::fmt::Display) -> Outcome {
    fail(Outcome::NotJudged, format!("{}: {e}", path.display()))
}

/// The linked program of this name, or the only one.
pub fn choose_entry<'e>(
    entries: &'e [bpfassay_object::Entry],
    name: Option<&str>,
) -> Result<&'e bpfassay_object::Entry, String> {
    let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    let chosen = pick(&names, name)?;
    entries.iter().find(|e| e.name == chosen).ok_or("no program".to_string())
}

fn pick<'n>(names: &[&'n str], wanted: Option<&str>) -> Result<&'n str, String> {
    match (wanted, names) {
        (Some(w), _) => names.iter().find(|n| **n == w).copied().ok_or(format!("no program `{w}`")),
        (None, [only]) => Ok(only),
        (None, []) => Err("no program".to_string()),
        (None, several) => {
            Err(format!("several programs, choose with --prog: {}", several.join(", ")))
        }
    }
}

/// The program of this name, or the only one.
pub fn choose<'e>(entries: &'e [Entry], name: Option<&str>) -> Result<&'e Program, String> {
    let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    let chosen = pick(&names, name)?;
    let entry = entries.iter().find(|e| e.name == chosen).ok_or("no program".to_string())?;
    entry.program.as_ref().map_err(|e| e.message.clone())
}

/// Sizes in MiB of the logs that the kernel takes.
pub fn max_log() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(0..=(bpfassay_harness::kernel::KERNEL_MAX_LOG >> 20) as i64)
}
