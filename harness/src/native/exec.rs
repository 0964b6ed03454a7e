//! Memory for code: written, then executable, never both.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;

use crate::pages::Pages;

/// Code that fits is written where earlier code was: bytes.
const SPARE: usize = 1 << 16;

thread_local! {
    /// Pages of code that is gone, writable again.
    static SPARE_PAGES: Cell<Option<Pages>> = const { Cell::new(None) };
}

/// Executable memory.
#[derive(Debug)]
pub struct Exec {
    /// There until it is dropped.
    pages: Option<Pages>,
}

impl Exec {
    /// A copy of `first` and, directly behind it, of `code` that can be run.
    pub fn new(first: &[u8], code: &[u8]) -> io::Result<Exec> {
        let len = first.len() + code.len();
        let pages = match SPARE_PAGES.try_with(Cell::take) {
            Ok(Some(pages)) if len <= pages.len() => pages,
            _ => Pages::anywhere(len.max(SPARE))?,
        };
        let to = pages.start().as_ptr();
        // SAFETY: the pages are ours, writable, with at least `len` bytes, and hold no code that is in use.
        unsafe {
            std::ptr::copy_nonoverlapping(first.as_ptr(), to, first.len());
            std::ptr::copy_nonoverlapping(code.as_ptr(), to.add(first.len()), code.len());
        }
        pages.seal()?;
        flush(&pages, len);
        Ok(Exec { pages: Some(pages) })
    }

    pub fn address(&self) -> u64 {
        self.pages.as_ref().map_or(0, Pages::address)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        // What cannot be kept goes back.
        if pages.len() == SPARE && pages.unseal().is_ok() {
            let _ = SPARE_PAGES.try_with(|spare| spare.set(Some(pages)));
        }
    }
}

/// Makes instruction fetches see what was written; x86 does so by itself.
#[cfg(not(target_arch = "aarch64"))]
fn flush(_: &Pages, _: usize) {}

#[cfg(target_arch = "aarch64")]
fn flush(pages: &Pages, len: usize) {
    use std::arch::asm;
    /// Not larger than any processor's line.
    const LINE: usize = 16;
    let start = pages.start().as_ptr() as usize;
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
