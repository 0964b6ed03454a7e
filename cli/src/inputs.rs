//! From the paths a person names to the bytes of objects.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bpfassay_ci::files::{self, MAX_OBJECT};

use crate::exit::{fail, Outcome};

/// One object to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Stdin,
    File(PathBuf),
    /// A path that is not there, or a folder that cannot be read, and why.
    Unreadable(PathBuf, String),
}

impl Input {
    /// The file, or standard input for `-`.
    pub fn of(path: &Path) -> Input {
        match path.as_os_str() == "-" {
            true => Input::Stdin,
            false => Input::File(path.to_path_buf()),
        }
    }

    /// What reports call it; bytes that are not UTF-8 are replaced.
    pub fn display(&self) -> String {
        match self {
            Input::Stdin => "<stdin>".to_string(),
            Input::File(p) | Input::Unreadable(p, _) => p.to_string_lossy().into_owned(),
        }
    }

    /// Its bytes, at most [`MAX_OBJECT`].
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.read_at_most(MAX_OBJECT)
    }

    /// Its bytes, at most `max`.
    pub fn read_at_most(&self, max: u64) -> io::Result<Vec<u8>> {
        match self {
            Input::Stdin => files::at_most(max, io::stdin().lock()),
            Input::File(p) => files::read(p, max),
            Input::Unreadable(_, why) => Err(io::Error::other(why.clone())),
        }
    }
}

/// The bytes of a file, or of standard input for `-`.
///
/// # Errors
/// The message was written; *not judged*.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Outcome> {
    let input = Input::of(path);
    input
        .read_at_most(max)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", input.display())))
}

/// The objects named by `paths`: files as they are, folders walked in name order for ELF
/// files of machine BPF, `-` for standard input.  What cannot be read is in the list as such.
pub fn collect(paths: &[PathBuf]) -> Vec<Input> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if !found.contains(&Input::Stdin) {
                found.push(Input::Stdin);
            }
            continue;
        }
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => walk(path, &mut found),
            Ok(_) => found.push(Input::File(path.clone())),
            Err(e) => found.push(Input::Unreadable(path.clone(), e.to_string())),
        }
    }
    found
}

fn walk(dir: &Path, found: &mut Vec<Input>) {
    let entries = fs::read_dir(dir).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(e) => return found.push(Input::Unreadable(dir.to_path_buf(), e.to_string())),
    };
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = entry.path();
        // Symbolic links to folders are not followed: a loop would never end.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, found),
            Ok(_) if path.is_file() => look(path, found),
            Ok(_) => {}
            Err(e) => found.push(Input::Unreadable(path, e.to_string())),
        }
    }
}

/// Takes a file of a folder if it starts as an ELF file of machine BPF (247), in either byte order, or if nobody can
/// tell.
fn look(path: PathBuf, found: &mut Vec<Input>) {
    const EM_BPF: u16 = 247;
    let mut head = [0u8; 20];
    let read = fs::File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(e) => found.push(Input::Unreadable(path, e.to_string())),
        Ok(()) => {
            let machine = [head[18], head[19]];
            let machine = match head[5] {
                2 => u16::from_be_bytes(machine),
                _ => u16::from_le_bytes(machine),
            };
            if head[..4] == *b"\x7fELF" && machine == EM_BPF {
                found.push(Input::File(path));
            }
        }
    }
}
