//! Programs of objects: the oracle `agreement`, the running kernel among the engines if it is asked for.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_campaign::objects::{agree as run, Options};
use bpfassay_campaign::oracle;
use bpfassay_campaign::report::Report;
use bpfassay_harness::contain::Limits;
use bpfassay_harness::native;
use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::session::EngineKind;
use bpfassay_object::btf::Btf;

use super::Args;
use crate::inputs;

pub const RUNNING: &str = "running";

/// A folder, or a file that begins as ELF does.
pub fn is_object(path: &Path) -> bool {
    let mut head = [0; 4];
    path.is_dir()
        || std::fs::File::open(path).is_ok_and(|mut f| f.read_exact(&mut head).is_ok())
            && head == *b"\x7fELF"
}

pub fn agree(args: &Args) -> Result<Report, String> {
    if !args.oracles.iter().any(|o| o == "agreement") {
        return Err("objects are for the oracle agreement".to_string());
    }
    let mut target = oracle::target(&args.kernel)?;
    let mut engines = Vec::new();
    for name in &args.engines {
        let name = if name == "jit" { native::ENGINE } else { name };
        let engine = EngineKind::from_name(name).ok_or(format!("no engine {name}"))?;
        if engine != EngineKind::Interp {
            engines.push(engine);
        }
    }
    match args.kernels.as_slice() {
        [] => {}
        [name] if name == RUNNING => {
            engines.push(EngineKind::Kernel);
            // Its functions then have the numbers that kernel knows.
            let types = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| e.to_string())?;
            let types = Btf::parse(&types, None).map_err(|e| e.to_string())?;
            target.vmlinux = Some(Arc::new(types));
        }
        _ => return Err("objects run on no other kernel than the running one".to_string()),
    }
    let reasons = args.reasons.as_deref().map(Reasons::read).transpose()?.unwrap_or_default();
    let options = Options { engines, reasons, limits: Limits::default() };
    let found = inputs::collect(&args.corpus).into_iter().map(|input| {
        let bytes = input.read().map_err(|e| format!("{}: {e}", input.display()))?;
        Ok::<_, String>((label(args, &input.display()), bytes))
    });
    let objects = found.collect::<Result<Vec<_>, _>>()?;
    Ok(run(&options, &target, objects))
}

/// The object's name below the folder it was found in.
fn label(args: &Args, path: &str) -> String {
    let below = |folder: &PathBuf| {
        let name = Path::new(path).strip_prefix(folder).ok()?;
        (!name.as_os_str().is_empty()).then(|| name.to_string_lossy().into_owned())
    };
    args.corpus.iter().find_map(below).unwrap_or_else(|| path.to_string())
}
