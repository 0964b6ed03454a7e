//! Kernel profiles: what else than the program a verdict depends on, as one JSON file.
//!
//! The tables hold for its release; a profile says what they do not say or what differs from them: features,
//! configuration, JIT, missing helpers and kfuncs, BTF.  `record --profile` writes one from a
//! running kernel.  This module opens no file: BTF is inline or named for the caller to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::helper;
use crate::jit::Jit;
use crate::kernel::{Config, Kernel, Refusal};
use crate::kfunc::{Kfunc, KfuncFlags};
use crate::release::Release;
use crate::uapi::{AttachType, ProgType};

/// Value of `schema`.
pub const SCHEMA: &str = "bpfassay.profile/1";

/// A profile as it stands in the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub schema: String,
    /// What reports call it.
    pub name: String,
    /// Everything a verdict can depend on is known.  If false, what is not listed is *missing*, not absent.
    pub complete: bool,
    /// `uname -r`.
    pub release: String,
    /// The package or machine it was read from, exactly; "" where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// What could not be measured and was derived from the release, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
    /// Release whose tables hold where `release` is not upstream's; "" means `release`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base: String,
    /// `uname -m`.
    pub arch: String,
    /// `NR_CPUS`, and how many CPUs may ever be there (`nr_cpu_ids`).
    pub nr_cpus: u32,
    pub possible_cpus: u32,
    /// Features by name; one that stands in the tables and not here is as the release has it.
    pub features: BTreeMap<String, bool>,
    /// What the JIT can do; None: what the release's can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jit: Option<Jit>,
    /// Kernel configuration without `CONFIG_`: `y`, `m`, a number, or a text in quotes; absent means n.
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    pub vmlinux_btf: Option<BtfBlob>,
    #[serde(default)]
    pub module_btf: Vec<BtfBlob>,
    /// Kfuncs that exist, with their flags; a kfunc of the tables that is not here is absent.
    pub kfuncs: BTreeMap<String, Vec<String>>,
    /// Helpers of the tables that no program may call here.
    #[serde(default)]
    pub absent_helpers: BTreeSet<String>,
    /// Program types that are refused before verification.
    #[serde(default)]
    pub refused: Vec<RefusedType>,
    /// Kernel symbols (`/proc/kallsyms`); None where they were not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Symbols>,
}

/// Names the kernel can find addresses of.  The addresses are the boot's own, so none is kept.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symbols {
    /// Those that are there, functions and variables of the vmlinux BTF left out.
    #[serde(default)]
    pub present: BTreeSet<String>,
    /// Functions and variables of the vmlinux BTF that are not there.
    #[serde(default)]
    pub absent: BTreeSet<String>,
}

/// BTF by hash, and where its bytes are: inline, or in a file beside the profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BtfBlob {
    /// `vmlinux` or the module's name.
    pub name: String,
    /// SHA-256 of the kernel's own blob, lower-case hexadecimal.
    pub sha256: String,
    /// Older versions wrote profiles with some of the kernel's types only; they are not taken.
    #[serde(default, skip_serializing)]
    partial: bool,
    /// File name relative to the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// `BPF_PROG_LOAD` fails at once for these.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedType {
    pub prog_type: String,
    /// None means every attach type.
    #[serde(default)]
    pub attach_type: Option<String>,
    /// Positive errno.
    pub errno: i32,
}

/// Why a profile cannot be used; each names the field at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProfileError {
    /// Not JSON, or not of this shape.
    Json {
        line: usize,
        column: usize,
        message: String,
    },
    Schema {
        found: String,
    },
    UnknownBase {
        base: String,
    },
    UnknownFeature {
        name: String,
    },
    UnknownHelper {
        name: String,
    },
    UnknownFlag {
        kfunc: String,
        flag: String,
    },
    UnknownType {
        field: &'static str,
        name: String,
    },
    BadHash {
        btf: String,
    },
    BadBase64 {
        btf: String,
        at: usize,
    },
    /// Neither or both of `file` and `base64`.
    BtfPlace {
        btf: String,
    },
    /// Some of the kernel's types only.
    PartialBtf {
        btf: String,
    },
    /// `complete`, but without a vmlinux BTF.
    NotComplete {
        lacks: &'static str,
    },
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProfileError::Json { line, column, message } => {
                write!(f, "line {line}, column {column}: {message}")
            }
            ProfileError::Schema { found } => {
                write!(f, "schema is `{found}`, this version reads `{SCHEMA}`")
            }
            ProfileError::UnknownBase { base } => {
                let (first, last) = Release::lines();
                write!(f, "no tables for release `{base}`; they go from {first} to {last}")
            }
            ProfileError::UnknownFeature { name } => write!(f, "features: no feature `{name}`"),
            ProfileError::UnknownHelper { name } => {
                write!(f, "absent_helpers: no helper `{name}`")
            }
            ProfileError::UnknownFlag { kfunc, flag } => {
                write!(f, "kfuncs.{kfunc}: no flag `{flag}`")
            }
            ProfileError::UnknownType { field, name } => write!(f, "{field}: no type `{name}`"),
            ProfileError::BadHash { btf } => {
                write!(f, "BTF of {btf}: sha256 is not 64 lower-case hexadecimal digits")
            }
            ProfileError::BadBase64 { btf, at } => {
                write!(f, "BTF of {btf}: no base64 at character {at}")
            }
            ProfileError::BtfPlace { btf } => {
                write!(f, "BTF of {btf}: give either `file` or `base64`")
            }
            ProfileError::PartialBtf { btf } => {
                write!(f, "BTF of {btf}: it holds some of the kernel's types only; record the profile again")
            }
            ProfileError::NotComplete { lacks } => {
                write!(f, "complete is true, but the profile lacks {lacks}")
            }
        }
    }
}

impl std::error::Error for ProfileError {}

impl Profile {
    /// Reads and checks a profile.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        let profile: Profile = serde_json::from_str(text).map_err(|e| ProfileError::Json {
            line: e.line(),
            column: e.column(),
            message: strip_place(&e.to_string()),
        })?;
        profile.check()?;
        Ok(profile)
    }

    /// Pretty JSON, keys in a fixed order, ending in a newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.schema != SCHEMA {
            return Err(ProfileError::Schema { found: self.schema.clone() });
        }
        for blob in self.vmlinux_btf.iter().chain(&self.module_btf) {
            blob.check()?;
            if blob.partial {
                return Err(ProfileError::PartialBtf { btf: blob.name.clone() });
            }
        }
        for name in &self.absent_helpers {
            if helper::func_id(name).is_none() {
                return Err(ProfileError::UnknownHelper { name: name.clone() });
            }
        }
        for (kfunc, flags) in &self.kfuncs {
            if let Some(flag) = flags.iter().find(|f| KfuncFlags::from_name(f).is_none()) {
                return Err(ProfileError::UnknownFlag { kfunc: kfunc.clone(), flag: flag.clone() });
            }
        }
        if self.complete && self.vmlinux_btf.is_none() {
            return Err(ProfileError::NotComplete { lacks: "vmlinux_btf" });
        }
        self.kernel().map(|_| ())
    }

    /// The kernel that this profile describes.
    pub fn kernel(&self) -> Result<Kernel, ProfileError> {
        let base = self.upstream();
        let of = |value: &'static str| {
            self.config.iter().filter(move |(_, v)| *v == value).map(|(k, _)| k.as_str())
        };
        let config = Config::from_names(of("y"), of("m"));
        let mut kernel = Kernel::of_release(base, &self.arch, config)
            .ok_or_else(|| ProfileError::UnknownBase { base: base.to_string() })?;
        for (name, value) in &self.features {
            match kernel.features.by_name_mut(name) {
                Some(feature) => *feature = *value,
                None => return Err(ProfileError::UnknownFeature { name: name.clone() }),
            }
        }
        kernel.release = self.release.clone();
        kernel.nr_cpus = self.nr_cpus;
        kernel.nr_cpu_ids = self.possible_cpus;
        if let Some(jit) = &self.jit {
            // Not asked of a kernel when profiles are recorded: the release says it.
            let masks_user_addresses = kernel.jit.masks_user_addresses;
            kernel.jit = Jit { masks_user_addresses, ..jit.clone() };
        }
        kernel.absent_helpers =
            self.absent_helpers.iter().filter_map(|n| helper::func_id(n)).collect();
        let absent = Kfunc::all().iter().filter(|k| !self.kfuncs.contains_key(k.name));
        kernel.absent_kfuncs = absent.map(|k| k.name).collect();
        kernel.refused = self.refusals()?;
        kernel.absent_symbols = self.symbols.as_ref().map(|s| s.absent.clone());
        Ok(kernel)
    }

    fn refusals(&self) -> Result<Vec<Refusal>, ProfileError> {
        let unknown =
            |name: &str| ProfileError::UnknownType { field: "refused", name: name.to_string() };
        let mut out = Vec::new();
        for row in &self.refused {
            let prog_type =
                ProgType::from_name(&row.prog_type).ok_or_else(|| unknown(&row.prog_type))?;
            let attach_type = match &row.attach_type {
                None => None,
                Some(name) => Some(AttachType::from_name(name).ok_or_else(|| unknown(name))?),
            };
            out.push(Refusal { prog_type, attach_type, errno: row.errno });
        }
        Ok(out)
    }

    /// Value of a configuration option as in the kernel's file; None means it is not set.
    pub fn config_value(&self, name: &str) -> Option<&str> {
        self.config.get(name.strip_prefix("CONFIG_").unwrap_or(name)).map(String::as_str)
    }

    /// The upstream release: `release`, but where a distribution numbers its kernels otherwise.
    pub fn upstream(&self) -> &str {
        match self.base.as_str() {
            "" => &self.release,
            base => base,
        }
    }

    /// `LINUX_VERSION_CODE` of the upstream release, as libbpf finds it (`get_kernel_version`): patch at most 255;
    /// None if the release does not begin with numbers.
    pub fn version_code(&self) -> Option<u32> {
        version_code(self.upstream())
    }
}

/// `LINUX_VERSION_CODE` of `uname -r`: `6.18.44-x` is `6 << 16 | 18 << 8 | 44`, each at most 255; None if the text
/// does not begin with two numbers.
pub fn version_code(release: &str) -> Option<u32> {
    let mut parts = release.splitn(3, '.').map(|p| {
        let digits = p.find(|c: char| !c.is_ascii_digit()).unwrap_or(p.len());
        p.get(..digits).and_then(|d| d.parse::<u32>().ok())
    });
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().flatten().unwrap_or(0);
    Some(major.min(255) << 16 | minor.min(255) << 8 | patch.min(255))
}

/// SHA-256 in lower-case hexadecimal, as blobs are named by.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl BtfBlob {
    /// A blob kept inline.
    pub fn inline(name: &str, bytes: &[u8]) -> BtfBlob {
        BtfBlob {
            name: name.to_string(),
            sha256: sha256(bytes),
            partial: false,
            file: None,
            base64: Some(base64_encode(bytes)),
        }
    }

    fn check(&self) -> Result<(), ProfileError> {
        let is_hex = self.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if self.sha256.len() != 64 || !is_hex {
            return Err(ProfileError::BadHash { btf: self.name.clone() });
        }
        match (&self.file, &self.base64) {
            (Some(_), None) => Ok(()),
            (None, Some(_)) => self.bytes().map(|_| ()),
            _ => Err(ProfileError::BtfPlace { btf: self.name.clone() }),
        }
    }

    /// The inline bytes; empty when they are in a file.
    pub fn bytes(&self) -> Result<Vec<u8>, ProfileError> {
        let text = self.base64.as_deref().unwrap_or("");
        base64_decode(text).map_err(|at| ProfileError::BadBase64 { btf: self.name.clone(), at })
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding, on one line.
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let six = (word >> (18 - 6 * i)) & 63;
            let letter = BASE64.get(six as usize).copied().unwrap_or(b'=');
            out.push(if i <= chunk.len() { letter as char } else { '=' });
        }
    }
    out
}

/// Position of the first wrong character on failure; white space is skipped.
pub fn base64_decode(text: &str) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits, mut padding) = (0u32, 0, 0);
    for (at, letter) in text.bytes().enumerate().filter(|(_, b)| !b.is_ascii_whitespace()) {
        if letter == b'=' {
            padding += 1;
            continue;
        }
        let value = BASE64.iter().position(|b| *b == letter).ok_or(at)?;
        if padding > 0 {
            return Err(at);
        }
        word = word << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    // Left-over bits are padding of zeros; six of them are half a byte too many.
    if word != 0 || bits == 6 || padding > 2 {
        return Err(text.len());
    }
    Ok(out)
}

/// serde_json repeats the place at the end of its message.
fn strip_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(m, _)| m).to_string()
}
