//! The kernel judged for, from `--kernel`, `--profile` and `--btf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_ci::contract::ObjectError;
use bpfassay_ci::judge::Target;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::{Fact, LoadError};
use bpfassay_spec::Kernel;

use crate::exit::{fail, Outcome};

#[derive(clap::Args)]
pub struct KernelArgs {
    /// Kernel to judge for: 6.18 (which is 6.18.44) or 6.18.15.
    #[arg(long, value_name = "RELEASE", default_value = "6.18")]
    pub kernel: String,
    /// Profile of the kernel, as `record --profile` writes it.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// BTF of the kernel (vmlinux first, then modules); replaces the profile's.
    #[arg(long, value_name = "FILE")]
    pub btf: Vec<PathBuf>,
}

/// Resolves the arguments.
pub fn target(args: &KernelArgs) -> Result<Target, Outcome> {
    let kernel = Kernel::by_name(&args.kernel).ok_or_else(|| {
        let known: Vec<_> = Kernel::known().map(|(n, r)| format!("{n} ({r})")).collect();
        let known = known.join(", ");
        fail(Outcome::Usage, format!("no kernel `{}`; known are {known}", args.kernel))
    })?;
    let mut target = Target {
        kernel,
        profile: "none".to_string(),
        vmlinux: None,
        modules: Vec::new(),
        btf_hash: None,
        btf_complete: false,
    };
    for (i, path) in args.btf.iter().enumerate() {
        let bytes = fs::read(path).map_err(|e| not_read(path, e))?;
        let btf = Btf::parse(&bytes, if i == 0 { None } else { target.vmlinux.clone() })
            .map_err(|e| not_read(path, e))?;
        let btf = Arc::new(btf);
        if i == 0 {
            target.btf_hash = Some(bpfassay_ci::judge::sha256(&bytes));
            target.vmlinux = Some(btf);
            target.btf_complete = true;
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            target.modules.push((name, btf));
        }
    }
    Ok(target)
}

fn not_read(path: &Path, e: impl std::fmt::Display) -> Outcome {
    fail(Outcome::NotJudged, format!("{}: {e}", path.display()))
}

/// One program of an object, or why libbpf would not hand it to a kernel.
pub struct Entry {
    pub name: String,
    pub section: String,
    pub program: Result<Program, ObjectError>,
}

impl Entry {
    pub fn ok(&self) -> Option<&Program> {
        self.program.as_ref().ok()
    }
}

/// Reads an object for the target; every program is linked as if loaded alone.
pub fn load(bytes: &[u8], name: &str, target: &Target) -> Result<Vec<Entry>, ObjectError> {
    let kernel = &target.kernel;
    let kconfig = |option: &str| match option.strip_prefix("CONFIG_") {
        Some(short) if kernel.config.has(short) => Fact::Known("y".to_string()),
        Some(short) if kernel.config.is_enabled(short) => Fact::Known("m".to_string()),
        _ => Fact::Unknown,
    };
    let load_target = bpfassay_object::Target {
        btf: target.vmlinux.as_ref(),
        modules: &target.modules,
        btf_complete: target.btf_complete,
        kernel_version: version_code(&kernel.release),
        kconfig: &kconfig,
        symbols: &|_| Fact::Unknown,
        possible_cpus: 2,
        features: Default::default(),
    };
    let object = bpfassay_object::load(bytes, name, &load_target).map_err(error)?;
    Ok(object
        .programs
        .into_iter()
        .map(|e| Entry { name: e.name, section: e.section, program: e.program.map_err(error) })
        .collect())
}

/// The program of this name, or the only one.
pub fn choose<'e>(entries: &'e [Entry], name: Option<&str>) -> Result<&'e Program, String> {
    let entry = match name {
        Some(name) => {
            entries.iter().find(|e| e.name == name).ok_or(format!("no program `{name}`"))?
        }
        None => match entries {
            [only] => only,
            [] => return Err("no program".to_string()),
            several => {
                let names: Vec<_> = several.iter().map(|e| e.name.as_str()).collect();
                return Err(format!(
                    "several programs, choose with --prog: {}",
                    names.join(", ")
                ));
            }
        },
    };
    entry.program.as_ref().map_err(|e| e.message.clone())
}

fn error(e: LoadError) -> ObjectError {
    ObjectError { kind: e.kind.name().to_string(), message: e.to_string() }
}

/// `LINUX_VERSION_CODE` of a release such as `6.18.44`; the patch level stops at 255.
fn version_code(release: &str) -> u32 {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0u32);
    next() << 16 | (next() & 0xff) << 8 | next().min(255)
}
