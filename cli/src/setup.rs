//! The kernel judged for, from `--kernel`, `--profile` and `--btf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_ci::contract::ObjectError;
use bpfassay_ci::judge::Target;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
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

/// An object and what was wrong with parts of it.
pub struct Loaded {
    pub programs: Vec<Program>,
    pub error: Option<ObjectError>,
}

/// Reads an object for the target.
pub fn load(bytes: &[u8], target: &Target) -> Result<Loaded, ObjectError> {
    let _ = (bytes, target);
    Err(ObjectError { kind: "unsupported".into(), message: "loader not built yet".into() })
}
