//! A profile from what a distribution's package holds, without booting: kernel image or BTF, configuration, modules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_spec::Profile;

use super::{image, kallsyms, Known};

/// What a package holds; the bytes of its files.
#[derive(Default)]
pub struct Package {
    /// ELF vmlinux, bzImage, arm64 Image: compressed or not.
    pub vmlinux: Option<Vec<u8>>,
    /// Detached BTF, raw or in an ELF file; goes before the image's.
    pub btf: Option<Vec<u8>>,
    /// Text of the configuration file.
    pub config: String,
    /// Text of `System.map`; without it, the image's own list.
    pub system_map: Option<String>,
    /// Module files by name (`nf_conntrack.ko.xz`).
    pub modules: Vec<(String, Vec<u8>)>,
    /// `uname -r`; without it, the image's banner.
    pub release: Option<String>,
    /// Possible CPUs of the machine.
    pub possible_cpus: Option<u32>,
}

/// The profile of a package.
///
/// # Errors
/// What the package lacks, or what is wrong with a file, by name.
pub fn profile(package: &Package) -> Result<Profile, String> {
    let unpacked = package.vmlinux.as_deref().map(image::unpack).transpose();
    let kernel = unpacked.map_err(|e| format!("kernel image: {e}"))?;
    let bytes = match &package.btf {
        Some(b) if b.starts_with(b"\x7fELF") => {
            image::section(b, ".BTF").ok_or("the BTF file has no section .BTF")?
        }
        Some(b) => b.clone(),
        None => kernel
            .as_deref()
            .and_then(image::btf)
            .ok_or("no BTF: the image has none (CONFIG_DEBUG_INFO_BTF), and no file was given")?,
    };
    let vmlinux = Arc::new(Btf::parse(&bytes, None).map_err(|e| format!("BTF: {e}"))?);
    let release = match &package.release {
        Some(r) => r.clone(),
        None => kernel
            .as_deref()
            .and_then(image::release)
            .or_else(|| upstream(&package.config))
            .ok_or("the release is not known: give it with --release")?,
    };
    let config = parse_config(&package.config)?;
    let arch = arch(&config).ok_or("the configuration is of neither x86-64 nor arm64")?;
    let modules = modules(&package.modules, &vmlinux)?;
    let symbols = match &package.system_map {
        Some(text) => Some(system_map(text)?),
        None => kernel.as_deref().and_then(kallsyms::names),
    };
    let possible_cpus = package.possible_cpus;
    let known = Known {
        release,
        upstream: upstream(&package.config),
        arch,
        config,
        vmlinux: &vmlinux,
        modules: &modules,
        symbols,
        possible_cpus,
    };
    let tables = known.tables()?;
    Ok(known.profile(&tables, None))
}

/// The upstream release that a configuration file's head names: `# Linux/x86 6.18.15 Kernel Configuration`.
fn upstream(config: &str) -> Option<String> {
    let line = config.lines().take(5).find(|l| l.ends_with("Kernel Configuration"))?;
    line.split(' ').find(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(String::from)
}

/// Options without `CONFIG_`.
fn parse_config(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pairs = text.lines().filter_map(|l| l.strip_prefix("CONFIG_")?.split_once('='));
    let config: BTreeMap<String, String> =
        pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect();
    match config.is_empty() {
        true => Err("the configuration file sets no option".to_string()),
        false => Ok(config),
    }
}

/// `uname -m`.
fn arch(config: &BTreeMap<String, String>) -> Option<String> {
    let is_set = |name: &str| config.get(name).is_some_and(|v| v == "y");
    let arch = [("X86_64", "x86_64"), ("ARM64", "aarch64")];
    arch.into_iter().find(|(option, _)| is_set(option)).map(|(_, uname)| uname.to_string())
}

/// Split BTF of the modules that have types of their own, by name.
fn modules(
    files: &[(String, Vec<u8>)],
    vmlinux: &Arc<Btf>,
) -> Result<Vec<(String, Arc<Btf>)>, String> {
    let mut out = Vec::new();
    for (file, bytes) in files {
        let elf = match bytes.starts_with(b"\x7fELF") {
            true => bytes.clone(),
            false => image::decompress(bytes).map_err(|e| format!("{file}: {e}"))?,
        };
        let Some(btf) = image::section(&elf, ".BTF") else { continue };
        let btf =
            Btf::parse(&btf, Some(vmlinux.clone())).map_err(|e| format!("{file}: BTF: {e}"))?;
        // Files are called as they like; the kernel writes `-` as `_`.
        let name = file.split('.').next().unwrap_or(file).replace('-', "_");
        out.push((name, Arc::new(btf)));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

fn system_map(text: &str) -> Result<BTreeSet<String>, String> {
    let name = |line: &str| line.split_ascii_whitespace().nth(2).map(String::from);
    let names: BTreeSet<String> = text.lines().filter_map(name).collect();
    match names.len() {
        0..1000 => Err("the symbols file holds no list of a kernel's symbols".to_string()),
        _ => Ok(names),
    }
}
