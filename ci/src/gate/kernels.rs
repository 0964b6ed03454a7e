//! The kernels a configuration names: served builds and profile files.

use std::path::Path;

use bpfassay_spec::profile::Profile;

use crate::files::{self, MAX_PROFILE};
use crate::gate::config::Config;
use crate::gate::error::ConfigError;
use bpfassay_judge::Target;

/// The kernel of a profile file; BTF files it names lie beside it.
pub fn read_profile(path: &Path) -> Result<Target, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let text = files::read_text(path, MAX_PROFILE).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => at(&"no such file"),
        _ => at(&e),
    })?;
    let profile = Profile::parse(&text).map_err(|e| at(&e))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let read = |name: &str| {
        let path = folder.join(name);
        files::read(&path, MAX_PROFILE).map_err(|e| format!("{}: {e}", path.display()))
    };
    Target::of_profile(&profile, read).map_err(|e| at(&e))
}

/// Every kernel of the configuration, with its label: as the configuration writes it.
pub fn targets(config: &Config, folder: &Path) -> Result<Vec<(String, Target)>, ConfigError> {
    let mut targets = Vec::new();
    for kernel in &config.kernels {
        let (label, span) = (kernel.get_ref(), kernel.span());
        let mut target = if label.contains('/') || label.ends_with(".json") {
            read_profile(&folder.join(label)).map_err(|e| config.error(span, e))?
        } else {
            match Target::served(label) {
                Ok(Some(target)) => target,
                Ok(None) => {
                    let help = format!(
                        "served are {}; a profile is named by its path, ending in .json",
                        Target::served_list()
                    );
                    return Err(config.error(span, format!("no kernel `{label}`")).help(help));
                }
                Err(e) => return Err(config.error(span, e)),
            }
        };
        target.caps = config.caps;
        if let Some(may) = config.unprivileged_bpf {
            target.kernel.unprivileged_bpf = may;
        }
        targets.push((label.clone(), target));
    }
    Ok(targets)
}
