//! Memory for code: written, then executable, never both.
#![allow(unsafe_code)]

use std::io;

use crate::pages::Pages;

/// Executable memory.
#[derive(Debug)]
pub struct Exec {
    pages: Pages,
}

impl Exec {
    /// A copy of `code` that can be run.
    pub fn new(code: &[u8]) -> io::Result<Exec> {
        let pages = Pages::anywhere(code.len().max(1))?;
        let to = pages.start().as_ptr();
        // SAFETY: the pages were just mapped, writable, with at least `code.len()` bytes.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), to, code.len()) };
        pages.seal()?;
        flush(&pages);
        Ok(Exec { pages })
    }

    pub fn address(&self) -> u64 {
        self.pages.address()
    }

    pub fn len(&self) -> usize {
        self.pages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// Makes instruction fetches see what was written; x86 does so by itself.
#[cfg(not(target_arch = "aarch64"))]
fn flush(_: &Pages) {}

#[cfg(target_arch = "aarch64")]
fn flush(pages: &Pages) {
    use std::arch::asm;
    /// Not larger than any processor's line.
    const LINE: usize = 16;
    let (start, len) = (pages.start().as_ptr() as usize, pages.len());
    for at in (start & !(LINE - 1)..start + len).step_by(LINE) {
        // SAFETY: cache maintenance of memory that is ours.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers touch no memory.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for at in (start & !(LINE - 1)..start + len).step_by(LINE) {
        // SAFETY: as above.
        unsafe { asm!("ic ivau, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    // SAFETY: as above.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
