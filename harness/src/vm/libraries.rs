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
            let path = PathBuf::from(path);
            if !out.contains(&path) {
                out.extend(other_names(&path));
                out.insert(path);
            }
        }
    }
    Ok(out)
}

/// Links beside a library that lead to it: programs ask for `libx.so.6` where `libx.so.6.0.30` is mapped.
fn other_names(library: &Path) -> Vec<PathBuf> {
    let Some(entries) = library.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let leads_here =
        |link: &PathBuf| fs::read_link(link).is_ok_and(|to| to.file_name() == library.file_name());
    entries.flatten().map(|e| e.path()).filter(leads_here).collect()
}

/// PT_INTERP.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
    let endian = file.endian();
    let headers = file.elf_program_headers();
    let path = headers.iter().find_map(|h| h.interpreter(endian, bytes).ok().flatten())?;
    String::from_utf8(path.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_to_a_library_are_its_names() {
        let folder = std::env::temp_dir().join(format!("libraries-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let library = folder.join("libx.so.6.0.30");
        fs::write(&library, b"").expect("a file");
        for (to, name) in [("libx.so.6.0.30", "libx.so.6"), ("liby.so.1.0", "liby.so.1")] {
            std::os::unix::fs::symlink(to, folder.join(name)).expect("a link");
        }
        assert_eq!(other_names(&library), [folder.join("libx.so.6")]);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
