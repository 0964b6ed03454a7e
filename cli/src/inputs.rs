//! From the paths a person names to the bytes of objects.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file read; a BPF object is a few hundred KiB.
const MAX_FILE: u64 = 256 << 20;

/// One object to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// What reports call it; bytes that are not UTF-8 are replaced.
    pub fn display(&self) -> String {
        match self {
            Input::Stdin => "<stdin>".to_string(),
            Input::File(p) => p.to_string_lossy().into_owned(),
        }
    }

    /// Its bytes.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Input::Stdin => at_most(MAX_FILE, io::stdin().lock()),
            Input::File(p) => at_most(MAX_FILE, fs::File::open(p)?),
        }
    }
}

/// All of `from`, which must be no longer than `max` bytes.
pub fn at_most(max: u64, from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.take(max + 1).read_to_end(&mut bytes)? as u64 > max {
        let why = format!("larger than {} MiB", max >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// The objects named by `paths`: files as they are, folders walked in name order for ELF
/// files of machine BPF, `-` for standard input.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<Input>, String> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if !found.contains(&Input::Stdin) {
                found.push(Input::Stdin);
            }
            continue;
        }
        let meta = fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
        if meta.is_dir() {
            walk(path, &mut found)?;
        } else {
            found.push(Input::File(path.clone()));
        }
    }
    Ok(found)
}

fn walk(dir: &Path, found: &mut Vec<Input>) -> Result<(), String> {
    let at = |e: io::Error| format!("{}: {e}", dir.display());
    let mut entries = fs::read_dir(dir).map_err(at)?.collect::<Result<Vec<_>, _>>().map_err(at)?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let kind = entry.file_type().map_err(at)?;
        let path = entry.path();
        // Symbolic links to folders are not followed: a loop would never end.
        if kind.is_dir() {
            walk(&path, found)?;
        } else if path.is_file() && is_bpf_elf(&path) {
            found.push(Input::File(path));
        }
    }
    Ok(())
}

/// True if the file starts as an ELF file of machine BPF (247), in either byte order.
fn is_bpf_elf(path: &Path) -> bool {
    const EM_BPF: u16 = 247;
    let mut head = [0u8; 20];
    let Ok(mut file) = fs::File::open(path) else { return false };
    if file.read_exact(&mut head).is_err() || head[..4] != *b"\x7fELF" {
        return false;
    }
    let machine = [head[18], head[19]];
    match head[5] {
        2 => u16::from_be_bytes(machine) == EM_BPF,
        _ => u16::from_le_bytes(machine) == EM_BPF,
    }
}
