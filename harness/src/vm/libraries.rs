//! What a dynamic program needs in order to start elsewhere: its loader and the libraries that it has mapped.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use object::read::elf::{ElfFile64, ProgramHeader};
use object::Endianness;

/// Paths of the loader and of every library of the running program; none for a static one.
///
/// # Errors
/// A program file that cannot be read.
pub fn of_this_program(program: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let bytes = fs::read(program).map_err(|e| format!("{}: {e}", program.display()))?;
    let mut out = BTreeSet::new();
    if let Some(loader) = interpreter(&bytes) {
        out.insert(PathBuf::from(loader));
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines() {
        // Address, permissions, offset, device and inode come before the path.
        let path = line.splitn(6, ' ').nth(5).map_or("", str::trim);
        if path.starts_with('/') && path.contains(".so") {
            out.insert(PathBuf::from(path));
        }
    }
    Ok(out)
}

/// PT_INTERP.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
    let endian = file.endian();
    let headers = file.elf_program_headers();
    let path = headers.iter().find_map(|h| h.interpreter(endian, bytes).ok().flatten())?;
    String::from_utf8(path.to_vec()).ok()
}
