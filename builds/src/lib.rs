//! The kernels that bpfassay serves: each with its configuration, JIT, types, modules and symbols, whole.
//!
//! A build is a [`Profile`] as `bpfassay record --profile` writes it on the machine, in `data/<name>/`, with its large
//! parts stored apart: the BTF compressed, or told by what differs from another build's ([`delta`]), and the symbols of
//! all builds as one list.  What is asked for is unpacked when it is asked for.  `examples/pack.rs` writes the folder.
//!
//! Opens no file: the data is part of the program.

pub mod delta;
pub mod pack;
pub mod raw;
mod served;
pub mod symbols;

use std::collections::BTreeMap;
use std::io::Read;

use bpfassay_spec::{Kernel, Profile};

use served::STORED;

/// File of a profile that holds the vmlinux BTF.
pub const VMLINUX: &str = "vmlinux.btf";

/// A build as the tables hold it.
struct Stored {
    /// Exact release, what `uname -r` begins with; with `-arm64` for that processor's.
    name: &'static str,
    /// Processor, as `uname -m` names it.
    arch: &'static str,
    /// What people type beside the name.
    also: &'static [&'static str],
    profile: &'static str,
    /// The vmlinux BTF (LZ4: it is read at every start), or what differs from another build's (Zstandard).
    btf: &'static [u8],
    /// Name of the build the BTF is a delta to; empty for none.
    base: &'static str,
    /// The modules' BTF (Zstandard): name, zero byte, length (4 bytes, little-endian), blob, again and again.
    modules: &'static [u8],
    /// Paths of its packages below a Debian mirror.
    packages: &'static [&'static str],
    /// What its answers rest on though it is not all known; empty where they were held against the kernel's.
    note: &'static str,
}

/// One served kernel.
#[derive(Clone, Copy)]
pub struct Build {
    stored: &'static Stored,
    /// Place among the builds, which is its bit in the list of symbols.
    nth: usize,
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Build").field(&self.stored.name).finish()
    }
}

impl Build {
    /// Every served build, by processor, oldest release first.
    pub fn all() -> impl Iterator<Item = Build> {
        STORED.iter().enumerate().map(|(nth, stored)| Build { stored, nth })
    }

    /// The build of a release (`6.18.44`) or of what people type for it (`6.18`).
    pub fn find(name: &str) -> Option<Build> {
        Build::all().find(|b| b.stored.name == name || b.stored.also.contains(&name))
    }

    /// Exact release, with `-arm64` for that processor's.
    pub fn name(self) -> &'static str {
        self.stored.name
    }

    /// Processor, as `uname -m` names it.
    pub fn arch(self) -> &'static str {
        self.stored.arch
    }

    /// What people type beside the release.
    pub fn also(self) -> &'static [&'static str] {
        self.stored.also
    }

    /// Paths of the packages that hold the kernel, its configuration and its modules, below a Debian mirror
    /// (`pool/updates/…` below the security archive's); none for a kernel that was not packaged.
    pub fn packages(self) -> &'static [&'static str] {
        self.stored.packages
    }

    /// How far its answers were held against that kernel's; empty where nothing is known to differ.
    pub fn note(self) -> &'static str {
        self.stored.note
    }

    /// Where the profile was recorded.
    pub fn origin(self) -> String {
        self.profile().map(|p| p.origin).unwrap_or_default()
    }

    /// The profile; its BTF is named by file: [`VMLINUX`], or a key of [`Build::modules`].
    ///
    /// # Errors
    /// A build that is not whole, with what it lacks.
    pub fn profile(self) -> Result<Profile, String> {
        let profile =
            Profile::parse(self.stored.profile).map_err(|e| self.lacks(&e.to_string()))?;
        match profile.complete {
            true => Ok(profile),
            false => Err(self.lacks("its profile is not complete")),
        }
    }

    /// The kernel's facts, as the machine showed them that the build was recorded on.
    ///
    /// # Errors
    /// As [`Build::profile`].
    pub fn kernel(self) -> Result<Kernel, String> {
        self.profile()?.kernel().map_err(|e| self.lacks(&e.to_string()))
    }

    /// The vmlinux BTF.
    ///
    /// # Errors
    /// As [`Build::profile`].
    pub fn vmlinux(self) -> Result<Vec<u8>, String> {
        let read = || {
            let own = unpack(self.stored.btf)?;
            if self.stored.base.is_empty() {
                return Ok(own);
            }
            let base = Build::find(self.stored.base).ok_or("its base is not served")?.vmlinux()?;
            delta::apply(&base, &own).map_err(str::to_string)
        };
        read().map_err(|e: String| self.lacks(&format!("{VMLINUX}: {e}")))
    }

    /// True if the kernel has a symbol of this name that is not in its BTF.
    pub fn has_symbol(self, name: &str) -> bool {
        symbols::has(name, self.nth)
    }

    fn lacks(self, what: &str) -> String {
        format!("build {} is not whole: {what}", self.stored.name)
    }

    /// Every module's BTF by the file that the profile names.
    ///
    /// # Errors
    /// As [`Build::profile`].
    pub fn modules(self) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let all = unpack(self.stored.modules).map_err(|e| self.lacks(&format!("modules: {e}")))?;
        let mut out = BTreeMap::new();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (name, blob, more) =
                module_entry(rest).ok_or_else(|| self.lacks("the modules are cut off"))?;
            out.insert(String::from_utf8_lossy(name).into_owned(), blob.to_vec());
            rest = more;
        }
        Ok(out)
    }
}

/// Facts of a served kernel, by the names that [`Build::find`] takes; None for others and for one that is not whole.
pub fn kernel(name: &str) -> Option<Kernel> {
    Build::find(name)?.kernel().ok()
}

/// Name, blob and what follows.
fn module_entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    let (len, rest) = bytes.get(end + 1..)?.split_first_chunk::<4>()?;
    let (blob, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((&bytes[..end], blob, rest))
}

/// `ZSTD_MAGICNUMBER`, little-endian.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Whole contents of an LZ4 or a Zstandard frame.
fn unpack(frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    if frame.starts_with(&ZSTD) {
        let mut decoder =
            ruzstd::decoding::StreamingDecoder::new(frame).map_err(|e| e.to_string())?;
        decoder.read_to_end(&mut out).map_err(|e| e.to_string())?;
        return Ok(out);
    }
    lz4_flex::frame::FrameDecoder::new(frame).read_to_end(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}
