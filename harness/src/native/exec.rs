//! Memory for code: written, then executable, never both.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

/// Executable memory.
#[derive(Debug)]
pub struct Exec {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is this value's own and is only read once it is made.
unsafe impl Send for Exec {}
// SAFETY: as above.
unsafe impl Sync for Exec {}

impl Exec {
    /// A copy of `code` that can be run.
    pub fn new(code: &[u8]) -> io::Result<Exec> {
        let len = code.len().max(1);
        let ptr = os::map(len)?;
        let exec = Exec { ptr, len };
        // SAFETY: `ptr` was just mapped, writable, with at least `code.len()` bytes.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), ptr.as_ptr(), code.len()) };
        os::seal(exec.ptr, exec.len)?;
        flush(exec.ptr, exec.len);
        Ok(exec)
    }

    pub fn address(&self) -> u64 {
        self.ptr.as_ptr().expose_provenance() as u64
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        os::unmap(self.ptr, self.len);
    }
}

/// Makes instruction fetches see what was written; x86 does so by itself.
#[cfg(not(target_arch = "aarch64"))]
fn flush(_: NonNull<u8>, _: usize) {}

#[cfg(target_arch = "aarch64")]
fn flush(ptr: NonNull<u8>, len: usize) {
    use std::arch::asm;
    /// Not larger than any processor's line.
    const LINE: usize = 16;
    let start = ptr.as_ptr() as usize;
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

#[cfg(unix)]
mod os {
    use std::io;
    use std::ptr::NonNull;

    pub fn map(len: usize) -> io::Result<NonNull<u8>> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches nobody's memory.
        let ptr = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(ptr.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    pub fn seal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: our own mapping, which nobody writes to any more.
        let r =
            unsafe { libc::mprotect(ptr.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_EXEC) };
        if r == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub fn unmap(ptr: NonNull<u8>, len: usize) {
        // SAFETY: our own mapping; its owner is being dropped.
        unsafe { libc::munmap(ptr.as_ptr().cast(), len) };
    }
}

#[cfg(windows)]
mod os {
    use std::ffi::c_void;
    use std::io;
    use std::ptr::{null_mut, NonNull};

    const MEM_COMMIT_RESERVE: u32 = 0x3000;
    const MEM_RELEASE: u32 = 0x8000;
    const PAGE_READWRITE: u32 = 4;
    const PAGE_EXECUTE_READ: u32 = 0x20;

    #[link(name = "kernel32")]
    extern "system" {
        fn VirtualAlloc(at: *mut c_void, len: usize, kind: u32, protect: u32) -> *mut c_void;
        fn VirtualProtect(at: *mut c_void, len: usize, protect: u32, old: *mut u32) -> i32;
        fn VirtualFree(at: *mut c_void, len: usize, kind: u32) -> i32;
    }

    pub fn map(len: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: a new allocation touches nobody's memory.
        let ptr = unsafe { VirtualAlloc(null_mut(), len, MEM_COMMIT_RESERVE, PAGE_READWRITE) };
        NonNull::new(ptr.cast()).ok_or_else(io::Error::last_os_error)
    }

    pub fn seal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        let mut old = 0;
        // SAFETY: our own allocation, which nobody writes to any more.
        let ok = unsafe { VirtualProtect(ptr.as_ptr().cast(), len, PAGE_EXECUTE_READ, &mut old) };
        if ok != 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub fn unmap(ptr: NonNull<u8>, _: usize) {
        // SAFETY: our own allocation; its owner is being dropped.
        unsafe { VirtualFree(ptr.as_ptr().cast(), 0, MEM_RELEASE) };
    }
}

#[cfg(not(any(unix, windows)))]
mod os {
    use std::io;
    use std::ptr::NonNull;

    pub fn map(_: usize) -> io::Result<NonNull<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn seal(_: NonNull<u8>, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn unmap(_: NonNull<u8>, _: usize) {}
}
