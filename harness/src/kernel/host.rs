//! What the loader asks about the running kernel: BTF, release, configuration, symbols.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use bpfassay_object::btf::Btf;
use bpfassay_object::{Fact, LoaderFeatures, Target};
use bpfassay_spec::profile::version_code;

use super::{sys, KernelError};

/// Largest configuration file read.
const MAX_CONFIG: u64 = 16 << 20;

/// Facts of the running kernel, read once.
#[derive(Debug)]
pub struct Host {
    /// `uname -r`.
    pub release: String,
    upstream: Option<String>,
    /// `LINUX_VERSION_CODE`.
    pub version: u32,
    btf: Arc<Btf>,
    modules: Vec<(String, Arc<Btf>)>,
    /// Without a configuration file every option is unknown, not absent.
    config: Option<HashMap<String, String>>,
    symbols: OnceLock<BTreeMap<String, u64>>,
}

impl Host {
    /// Reads the running kernel's files; symbols wait until they are asked for.
    pub fn read() -> Result<Host, KernelError> {
        let release = super::release()?;
        let bad = |what: &str| KernelError::Program(format!("the running kernel's BTF: {what}"));
        let bytes = fs::read("/sys/kernel/btf/vmlinux").map_err(|e| bad(&e.to_string()))?;
        let btf = Arc::new(Btf::parse(&bytes, None).map_err(|e| bad(&e.to_string()))?);
        let modules = modules(&btf);
        let config = config_text(&release).map(|t| parse_config(&t));
        let upstream = upstream(
            &fs::read_to_string("/proc/version_signature").unwrap_or_default(),
            &fs::read_to_string("/proc/version").unwrap_or_default(),
        );
        let version = version_code(upstream.as_deref().unwrap_or(&release)).unwrap_or(0);
        Ok(Host { release, upstream, version, btf, modules, config, symbols: OnceLock::new() })
    }

    /// The upstream release, where the distribution says it elsewhere than in the release.
    pub fn upstream(&self) -> Option<String> {
        self.upstream.clone()
    }

    /// vmlinux BTF.
    pub fn btf(&self) -> &Arc<Btf> {
        &self.btf
    }

    /// Split BTF of every module, in name order.
    pub fn modules(&self) -> &[(String, Arc<Btf>)] {
        &self.modules
    }

    /// Configuration options with `CONFIG_` and their values; `None` where the file cannot be read.
    pub fn config(&self) -> Option<&HashMap<String, String>> {
        self.config.as_ref()
    }

    /// The kernel's symbols and their addresses, 0 where those are hidden; empty where there is no list.
    pub fn symbols(&self) -> &BTreeMap<String, u64> {
        self.symbols.get_or_init(symbols)
    }

    /// CPUs that may ever be there.
    pub fn possible_cpus(&self) -> u32 {
        sys::possible_cpus()
    }

    /// Hands the facts to the loader.
    pub fn with_target<R>(&self, use_it: impl FnOnce(&Target<'_>) -> R) -> R {
        let kconfig = |name: &str| match &self.config {
            None => Fact::Unknown,
            Some(c) => c.get(name).map_or(Fact::Absent, |v| Fact::Known(v.clone())),
        };
        let symbols = |name: &str| match self.symbols().get(name) {
            Some(0) => Fact::Unknown,
            Some(address) => Fact::Known(*address),
            None if self.symbols().is_empty() => Fact::Unknown,
            None => Fact::Absent,
        };
        use_it(&Target {
            btf: Some(&self.btf),
            modules: &self.modules,
            kernel_version: self.version,
            kconfig: &kconfig,
            symbols: &symbols,
            possible_cpus: sys::possible_cpus(),
            features: LoaderFeatures::default(),
        })
    }
}

/// The upstream release behind a distribution's numbers, as libbpf's `get_kernel_version` finds it: Ubuntu writes
/// `Ubuntu 6.8.0-45.45-generic 6.8.12`, Debian `… Debian 6.1.192-2 (2026-…)`.
fn upstream(signature: &str, version: &str) -> Option<String> {
    let is_release = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit());
    let word = match signature.strip_prefix("Ubuntu ") {
        Some(rest) => rest.split_ascii_whitespace().nth(1),
        None => version.split_once(" Debian ").and_then(|(_, rest)| rest.split(['-', ' ']).next()),
    };
    word.filter(is_release).map(String::from)
}

/// Split BTF of every module, in name order.
fn modules(vmlinux: &Arc<Btf>) -> Vec<(String, Arc<Btf>)> {
    let Ok(folder) = fs::read_dir("/sys/kernel/btf") else { return Vec::new() };
    let mut names: Vec<String> =
        folder.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|n| n != "vmlinux");
    names.sort();
    names
        .into_iter()
        .filter_map(|n| {
            let bytes = fs::read(format!("/sys/kernel/btf/{n}")).ok()?;
            Some((n, Arc::new(Btf::parse(&bytes, Some(Arc::clone(vmlinux))).ok()?)))
        })
        .collect()
}

/// libbpf's two places, in its order.
fn config_text(release: &str) -> Option<String> {
    if let Ok(text) = fs::read_to_string(format!("/boot/config-{release}")) {
        return Some(text);
    }
    let packed = fs::File::open("/proc/config.gz").ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(MAX_CONFIG).read_to_string(&mut text).ok()?;
    Some(text)
}

fn parse_config(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|l| l.split_once('='))
        .filter(|(name, _)| name.starts_with("CONFIG_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// `/proc/kallsyms`: the first address of every name, 0 where they are hidden; loaded BPF programs left out.
pub fn symbols() -> BTreeMap<String, u64> {
    parse_symbols(&fs::read_to_string("/proc/kallsyms").unwrap_or_default())
}

fn parse_symbols(text: &str) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if words.next() == Some("[bpf]") {
            continue;
        }
        if let Ok(address) = u64::from_str_radix(address, 16) {
            out.entry(name.to_owned()).or_insert(address);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn distributions_that_number_otherwise_name_the_upstream_release() {
        let debian =
            "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP \
                      PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-10-02)";
        assert_eq!(super::upstream("", debian).as_deref(), Some("6.1.192"));
        let ubuntu = "Ubuntu 6.8.0-45.45-generic 6.8.12";
        assert_eq!(super::upstream(ubuntu, "Linux version 6.8.0-45").as_deref(), Some("6.8.12"));
        assert_eq!(super::upstream("", "Linux version 6.18.44 (root@host) #1 SMP"), None);
    }

    use super::{parse_config, parse_symbols};

    #[test]
    fn symbol_lines() {
        let s = parse_symbols(
            "ffffffff81000000 T _text\n0000000000000000 t hidden\nffffffff81000010 t _text\n\
             ffffffffc0000000 t in_module\t[mod]\nffffffffc0001000 t bpf_prog_x\t[bpf]\nnoise\n",
        );
        let all: Vec<_> = s.iter().map(|(n, a)| (n.as_str(), *a)).collect();
        let text = 0xffff_ffff_8100_0000;
        assert_eq!(all, [("_text", text), ("hidden", 0), ("in_module", 0xffff_ffff_c000_0000)]);
    }

    #[test]
    fn configuration_lines() {
        let c =
            parse_config("# comment\nCONFIG_HZ=250\n# CONFIG_X is not set\nCONFIG_LOCAL=\"a=b\"\n");
        assert_eq!(c.get("CONFIG_HZ").map(String::as_str), Some("250"));
        assert_eq!(c.get("CONFIG_LOCAL").map(String::as_str), Some("\"a=b\""));
        assert_eq!(c.len(), 2);
    }
}
