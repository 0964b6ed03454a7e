//! `--html`: one page for each rejection.

use std::path::{Path, PathBuf};

use bpfassay_ci::report::page::Page;

use crate::exit::Outcome;
use crate::out;

/// Writes the pages: the first to `file`, the others beside it with their number; notes say where.
pub fn write(file: &Path, pages: &[Page], notes: &mut Vec<String>) -> Result<(), Outcome> {
    if pages.is_empty() {
        notes.push(format!("nothing was rejected, so {} is not written", file.display()));
        return Ok(());
    }
    for (i, page) in pages.iter().enumerate() {
        let to = numbered(file, i);
        out::file(&to, page.render())?;
        if i > 0 {
            notes.push(format!("page {} of {}: {}", i + 1, pages.len(), to.display()));
        }
    }
    Ok(())
}

/// `out.html`, `out-2.html`, `out-3.html`.
fn numbered(file: &Path, i: usize) -> PathBuf {
    if i == 0 {
        return file.to_path_buf();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let end = file.extension().map_or(String::new(), |e| format!(".{}", e.to_string_lossy()));
    file.with_file_name(format!("{stem}-{}{end}", i + 1))
}
