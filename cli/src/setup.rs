//! The kernel judged for, from `--kernel`, `--profile` and `--btf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_ci::contract::ObjectError;
use bpfassay_ci::judge::Target;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::{Fact, LoadError};
use bpfassay_spec::profile::{BtfBlob, Profile};
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

/// Resolves the arguments: `--profile`, or the bundled profile of `--kernel`; `--btf` replaces its BTF.
pub fn target(args: &KernelArgs) -> Result<Target, Outcome> {
    let mut target = match &args.profile {
        Some(path) => of_profile(path)?,
        None => bundled(&args.kernel)?,
    };
    for (i, path) in args.btf.iter().enumerate() {
        let bytes = fs::read(path).map_err(|e| not_read(path, e))?;
        let btf = Btf::parse(&bytes, if i == 0 { None } else { target.vmlinux.clone() })
            .map_err(|e| not_read(path, e))?;
        let btf = Arc::new(btf);
        if i == 0 {
            target.btf_hash = Some(bpfassay_ci::judge::sha256(&bytes));
            target.vmlinux = Some(btf);
            target.modules.clear();
            target.btf_complete = true;
        } else {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            target.modules.push((name, btf));
        }
    }
    Ok(target)
}

/// The small profile that comes with the program: enough for every bundled object.
const BUNDLED: &str = include_str!("../../corpus/profile/6.18.44.json");

fn bundled(name: &str) -> Result<Target, Outcome> {
    let kernel = Kernel::by_name(name).ok_or_else(|| {
        let known: Vec<_> = Kernel::known().map(|(n, r)| format!("{n} ({r})")).collect();
        let known = known.join(", ");
        fail(Outcome::Usage, format!("no kernel `{name}`; known are {known}"))
    })?;
    let profile = Profile::parse(BUNDLED)
        .map_err(|e| fail(Outcome::Internal, format!("bundled profile: {e}")))?;
    let mut target = resolve(&profile, Path::new(""))?;
    // One bundled profile serves every named build: what differs between them is in the tables.
    let features = kernel.features;
    target.kernel.release = kernel.release;
    target.kernel.features = features;
    target.profile = format!("bundled-{}", target.kernel.release);
    Ok(target)
}

fn of_profile(path: &Path) -> Result<Target, Outcome> {
    let text = fs::read_to_string(path).map_err(|e| not_read(path, e))?;
    let profile = Profile::parse(&text).map_err(|e| not_read(path, e))?;
    resolve(&profile, path.parent().unwrap_or(Path::new("")))
}

/// A profile whose BTF files lie in `folder`.
fn resolve(profile: &Profile, folder: &Path) -> Result<Target, Outcome> {
    let read = |blob: &BtfBlob, base: Option<Arc<Btf>>| -> Result<Arc<Btf>, Outcome> {
        let bytes = match &blob.file {
            Some(name) => {
                let path = folder.join(name);
                fs::read(&path).map_err(|e| not_read(&path, e))?
            }
            None => blob.bytes().map_err(|e| fail(Outcome::NotJudged, e))?,
        };
        let btf = Btf::parse(&bytes, base);
        btf.map(Arc::new).map_err(|e| fail(Outcome::NotJudged, format!("BTF {}: {e}", blob.name)))
    };
    let vmlinux = profile.vmlinux_btf.as_ref().map(|b| read(b, None)).transpose()?;
    let mut modules = Vec::new();
    for blob in &profile.module_btf {
        modules.push((blob.name.clone(), read(blob, vmlinux.clone())?));
    }
    Ok(Target {
        kernel: profile.kernel().map_err(|e| fail(Outcome::NotJudged, e))?,
        profile: profile.name.clone(),
        btf_complete: profile.vmlinux_btf.as_ref().is_some_and(|b| !b.partial),
        btf_hash: profile.vmlinux_btf.as_ref().map(|b| b.sha256.clone()),
        vmlinux,
        modules,
        kconfig: Some(profile.config.clone()),
        kconfig_complete: profile.complete,
        possible_cpus: profile.possible_cpus,
        version_code: profile.version_code().unwrap_or(0),
    })
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
    let known = target.kconfig.as_ref();
    let kconfig = |option: &str| {
        let short = option.strip_prefix("CONFIG_").unwrap_or(option);
        match known.and_then(|k| k.get(short)) {
            Some(value) => Fact::Known(value.clone()),
            None if target.kconfig_complete => Fact::Absent,
            None => Fact::Unknown,
        }
    };
    let load_target = bpfassay_object::Target {
        btf: target.vmlinux.as_ref(),
        modules: &target.modules,
        btf_complete: target.btf_complete,
        kernel_version: target.version_code,
        kconfig: &kconfig,
        symbols: &|_| Fact::Unknown,
        possible_cpus: target.possible_cpus,
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
