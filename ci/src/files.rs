//! Files of limited size, and files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Largest object or capture read; a BPF object is a few hundred KiB.
pub const MAX_OBJECT: u64 = 256 << 20;
/// Largest profile or BTF read; a whole kernel's is some 25 MiB as text.
pub const MAX_PROFILE: u64 = 128 << 20;
/// Largest text that people write: configurations, baselines, filters, elements of maps.
pub const MAX_TEXT: u64 = 16 << 20;

/// All of `from`, which must be no longer than `max` bytes.
///
/// # Errors
/// What reading said, or that there is more.
pub fn at_most(max: u64, from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if from.take(max + 1).read_to_end(&mut bytes)? as u64 > max {
        let why = format!("larger than {} MiB", max >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// All of a file, as [`at_most`].
///
/// # Errors
/// As [`at_most`].
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    at_most(max, File::open(path)?)
}

/// All of a text file, as [`at_most`].
///
/// # Errors
/// As [`at_most`], or that it is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let bad = |e: std::string::FromUtf8Error| {
        let why = format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to());
        io::Error::new(io::ErrorKind::InvalidData, why)
    };
    String::from_utf8(read(path, max)?).map_err(bad)
}

/// Writes a file beside the old one and renames it, so that a full disk leaves the old one whole.  What is no file,
/// such as a terminal or `/dev/null`, is written to as it is.
///
/// # Errors
/// What the system said; the old file is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Through links, which stay.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    let written = fs::write(beside, bytes).and_then(|()| {
        if let Ok(old) = fs::metadata(path) {
            fs::set_permissions(beside, old.permissions())?;
        }
        fs::rename(beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let folder = std::env::temp_dir().join(format!("bpfassay-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("x");
        replace(&file, b"old").unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        // Where a folder stands, nothing can be written, and nothing is left beside it.
        fs::create_dir(folder.join("d")).unwrap();
        assert!(replace(&folder.join("d"), b"x").is_err());
        let names = fs::read_dir(&folder).unwrap().count();
        assert_eq!(names, 2);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn more_than_is_allowed_is_refused_by_its_size() {
        assert_eq!(at_most(3, &b"abc"[..]).unwrap(), b"abc");
        let said = at_most(1 << 20, io::repeat(0)).unwrap_err().to_string();
        assert_eq!(said, "larger than 1 MiB");
    }
}
