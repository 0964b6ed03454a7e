//! Distribution packages: fetched, and unpacked into what [`Image`] needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{at, Image};
use crate::profile::decompress;

/// Modules whose functions and types programs use; those that they need come along.
const MODULES: [&str; 7] =
    ["nf_flow_table", "nf_nat", "nf_conntrack", "tcp_bbr", "tcp_dctcp", "xfrm_interface", "fou"];

/// Fetches a package with `curl` unless it is there, and returns its path.
///
/// # Errors
/// What `curl` says.
pub fn download(url: &str, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(url.rsplit('/').next().unwrap_or(url));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(|e| at(folder, e))?;
    let part = path.with_extension("part");
    let done = Command::new("curl")
        .args(["--fail", "--silent", "--show-error", "--location", "--retry", "3", "--output"])
        .arg(&part)
        .arg(url)
        .output()
        .map_err(|e| format!("curl: {e}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_string();
        return Err(format!("{url}: {said}"));
    }
    fs::rename(&part, &path).map_err(|e| at(&path, e))?;
    Ok(path)
}

/// Unpacks packages (`.deb`) into a folder: kernel, configuration and the modules that programs use.
///
/// # Errors
/// A package that cannot be read, or what none of them holds.
pub fn unpack(packages: &[PathBuf], folder: &Path) -> Result<Image, String> {
    let mut modules = BTreeMap::new();
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    fs::create_dir_all(folder.join("modules")).map_err(|e| at(folder, e))?;
    for package in packages {
        let data = data_of(package)?;
        let mut archive = tar::Archive::new(data.as_slice());
        let entries = archive.entries().map_err(|e| at(package, e))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| at(package, e))?;
            let path = entry.path().map_err(|e| at(package, e))?.to_string_lossy().into_owned();
            let name = path.rsplit('/').next().unwrap_or(&path).to_string();
            let mut read = || {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map(|_| bytes).map_err(|e| at(package, e))
            };
            if name.starts_with("vmlinuz") {
                write(&folder.join("vmlinuz"), &read()?)?;
                found.insert("a kernel", name);
            } else if name == "config" || name.starts_with("config-") {
                write(&folder.join("config"), &read()?)?;
                found.insert("a configuration", name);
            } else if let Some((module, _)) = name.split_once(".ko") {
                modules.insert(module.replace('-', "_"), read()?);
                if let Some(uname) =
                    path.split("/modules/").nth(1).and_then(|p| p.split('/').next())
                {
                    found.insert("modules", uname.to_string());
                }
            }
        }
    }
    for what in ["a kernel", "a configuration"] {
        if !found.contains_key(what) {
            return Err(format!("none of the packages holds {what}"));
        }
    }
    let bytes = fs::read(folder.join("vmlinuz")).map_err(|e| at(folder, e))?;
    let uname = crate::profile::release_of_image(&bytes)
        .ok_or_else(|| format!("{}: the kernel does not say its release", folder.display()))?;
    write(&folder.join("uname"), uname.as_bytes())?;
    for (nth, (name, bytes)) in in_order(&modules)?.into_iter().enumerate() {
        write(&folder.join("modules").join(format!("{nth:03}-{name}.ko")), &bytes)?;
    }
    image(folder).ok_or_else(|| format!("{}: incomplete", folder.display()))
}

/// What [`unpack`] has left in a folder; None where it has not been there.
pub fn image(folder: &Path) -> Option<Image> {
    let uname = fs::read_to_string(folder.join("uname")).ok()?;
    let mut modules: Vec<PathBuf> =
        fs::read_dir(folder.join("modules")).ok()?.flatten().map(|e| e.path()).collect();
    modules.sort();
    let (kernel, config) = (folder.join("vmlinuz"), folder.join("config"));
    (kernel.exists() && config.exists()).then_some(Image { kernel, config, uname, modules })
}

/// The uncompressed `data.tar` of a `.deb`.
fn data_of(package: &Path) -> Result<Vec<u8>, String> {
    let file = fs::File::open(package).map_err(|e| at(package, e))?;
    let mut archive = ar::Archive::new(file);
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.map_err(|e| at(package, e))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if !name.starts_with("data.tar") {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|e| at(package, e))?;
        return match name.trim_end_matches('/') {
            "data.tar" => Ok(bytes),
            _ => decompress(&bytes).map_err(|e| at(package, e)),
        };
    }
    Err(at(package, "no data.tar in it: not a Debian package"))
}

/// The wanted modules, uncompressed, each after those that it needs.
fn in_order(modules: &BTreeMap<String, Vec<u8>>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for name in MODULES {
        add(name, modules, &mut seen, &mut out)?;
    }
    Ok(out)
}

fn add(
    name: &str,
    modules: &BTreeMap<String, Vec<u8>>,
    seen: &mut BTreeSet<String>,
    out: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), String> {
    // A module that is built in, or that this kernel has not got, is no module file.
    let Some(packed) = modules.get(name) else { return Ok(()) };
    if !seen.insert(name.to_string()) {
        return Ok(());
    }
    let bytes = match packed.starts_with(b"\x7fELF") {
        true => packed.clone(),
        false => decompress(packed).map_err(|e| format!("{name}: {e}"))?,
    };
    for needed in depends(&bytes) {
        add(&needed, modules, seen, out)?;
    }
    out.push((name.to_string(), bytes));
    Ok(())
}

/// `depends=` of a module's `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    let Some(at) = module.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let rest = &module[at + KEY.len()..];
    let end = rest.iter().position(|b| *b == 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&rest[..end]);
    text.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|e| at(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let module = |depends: &str| {
            let mut bytes = b"\x7fELF....".to_vec();
            bytes.extend_from_slice(format!("depends={depends}\0").as_bytes());
            bytes
        };
        let modules = BTreeMap::from([
            ("nf_nat".to_string(), module("nf_conntrack,libcrc32c")),
            ("nf_conntrack".to_string(), module("nf-defrag-ipv4")),
            ("nf_defrag_ipv4".to_string(), module("")),
            ("libcrc32c".to_string(), module("")),
            ("unrelated".to_string(), module("")),
        ]);
        let names: Vec<String> = in_order(&modules).unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["nf_defrag_ipv4", "nf_conntrack", "libcrc32c", "nf_nat"]);
    }

    #[test]
    fn what_is_no_package_is_said() {
        let path = std::env::temp_dir().join(format!("bpfassay-no-deb-{}", std::process::id()));
        fs::write(&path, b"hello").unwrap();
        let folder = std::env::temp_dir();
        assert!(unpack(std::slice::from_ref(&path), &folder.join("x")).is_err());
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(folder.join("x"));
    }
}
