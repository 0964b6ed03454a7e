//! Whole pages from the operating system: the one place that maps memory for programs.
//!
//! Code ([`Pages::seal`]), packets below 4 GiB ([`Pages::low`]) and arenas
//! ([`Pages::reserved`]) lie in such pages.  They never move, and go back when their owner
//! is dropped.  Knows nothing of what stands in them.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

/// A mapping of our own.
#[derive(Debug)]
pub struct Pages {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is this value's own; it is reached only as its owners allow.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Zero bytes anywhere, to read and write.
    pub fn anywhere(len: usize) -> io::Result<Pages> {
        Ok(Pages { ptr: os::map(len)?, len })
    }

    /// Zero bytes below 4 GiB, to read and write; None where this host has none to give.
    pub fn low(len: usize) -> Option<Pages> {
        Some(Pages { ptr: os::map_low(len)?, len })
    }

    /// Addresses nobody else gets, without memory behind them until [`Pages::open`].
    pub fn reserved(len: usize) -> io::Result<Pages> {
        Ok(Pages { ptr: os::reserve(len)?, len })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.ptr
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn address(&self) -> u64 {
        self.ptr.as_ptr().expose_provenance() as u64
    }

    /// Address of `len` bytes at `off`, if they are ours.
    fn part(&self, off: usize, len: usize) -> io::Result<NonNull<u8>> {
        if off.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: within the mapping, as just seen.
        Ok(unsafe { self.ptr.add(off) })
    }

    /// Makes reserved pages readable and writable.
    pub fn open(&self, off: usize, len: usize) -> io::Result<()> {
        os::open(self.part(off, len)?, len)
    }

    /// Makes opened pages reserved again: what stood there is gone.
    pub fn close(&self, off: usize, len: usize) -> io::Result<()> {
        os::close(self.part(off, len)?, len)
    }

    /// From writable to executable.
    pub fn seal(&self) -> io::Result<()> {
        os::seal(self.ptr, self.len)
    }

    /// From executable to writable, when nobody runs what stands there any more.
    pub fn unseal(&self) -> io::Result<()> {
        os::unseal(self.ptr, self.len)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        os::unmap(self.ptr, self.len);
    }
}

/// Addresses tried where the system takes a wish only.
#[cfg(any(windows, all(target_os = "linux", not(target_arch = "x86_64"))))]
fn wishes() -> impl Iterator<Item = usize> {
    /// Above what executables and null pages take, in steps of the coarsest granularity.
    const FIRST: usize = 0x1000_0000;
    const STEP: usize = 0x10_0000;
    const LAST: usize = 0xe000_0000;
    (FIRST..LAST).step_by(STEP)
}

#[cfg(unix)]
mod os {
    use std::io;
    use std::ptr::NonNull;

    const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

    /// SAFETY of every call: an anonymous mapping at no address, or at one where nothing is
    /// mapped or only what is ours, touches no memory of anybody.
    fn mmap(at: usize, len: usize, prot: i32, extra: i32) -> io::Result<NonNull<u8>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | extra;
        let at = std::ptr::without_provenance_mut::<libc::c_void>(at);
        // SAFETY: see above.
        let ptr = unsafe { libc::mmap(at, len, prot, flags, -1, 0) };
        if ptr == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(ptr.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn protect(ptr: NonNull<u8>, len: usize, prot: i32) -> io::Result<()> {
        // SAFETY: our own mapping; who narrows it uses it that way no more.
        match unsafe { libc::mprotect(ptr.as_ptr().cast(), len, prot) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn map(len: usize) -> io::Result<NonNull<u8>> {
        mmap(0, len, READ_WRITE, 0)
    }

    #[cfg(target_os = "linux")]
    fn map_below(at: usize, len: usize, extra: i32) -> Option<NonNull<u8>> {
        let ptr = mmap(at, len, READ_WRITE, extra).ok()?;
        if ptr.as_ptr().addr() as u64 + len as u64 > 1 << 32 {
            unmap(ptr, len);
            return None;
        }
        Some(ptr)
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub fn map_low(len: usize) -> Option<NonNull<u8>> {
        map_below(0, len, libc::MAP_32BIT)
    }

    #[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
    pub fn map_low(len: usize) -> Option<NonNull<u8>> {
        super::wishes().find_map(|at| map_below(at, len, libc::MAP_FIXED_NOREPLACE))
    }

    /// macOS keeps the first 4 GiB of every process closed; others are not tried.
    #[cfg(not(target_os = "linux"))]
    pub fn map_low(_: usize) -> Option<NonNull<u8>> {
        None
    }

    pub fn reserve(len: usize) -> io::Result<NonNull<u8>> {
        mmap(0, len, libc::PROT_NONE, libc::MAP_NORESERVE)
    }

    pub fn open(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        protect(ptr, len, READ_WRITE)
    }

    pub fn close(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        // A new mapping in place of the old: its memory goes back, and it reads as zeroes next time.
        let at = ptr.as_ptr().addr();
        mmap(at, len, libc::PROT_NONE, libc::MAP_NORESERVE | libc::MAP_FIXED).map(|_| ())
    }

    pub fn seal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        protect(ptr, len, libc::PROT_READ | libc::PROT_EXEC)
    }

    pub fn unseal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        protect(ptr, len, READ_WRITE)
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
    use std::ptr::{without_provenance_mut, NonNull};

    const MEM_COMMIT: u32 = 0x1000;
    const MEM_RESERVE: u32 = 0x2000;
    const MEM_DECOMMIT: u32 = 0x4000;
    const MEM_RELEASE: u32 = 0x8000;
    const PAGE_NOACCESS: u32 = 1;
    const PAGE_READWRITE: u32 = 4;
    const PAGE_EXECUTE_READ: u32 = 0x20;

    #[link(name = "kernel32")]
    extern "system" {
        fn VirtualAlloc(at: *mut c_void, len: usize, kind: u32, protect: u32) -> *mut c_void;
        fn VirtualProtect(at: *mut c_void, len: usize, protect: u32, old: *mut u32) -> i32;
        fn VirtualFree(at: *mut c_void, len: usize, kind: u32) -> i32;
    }

    fn allocate(at: usize, len: usize, kind: u32, protect: u32) -> io::Result<NonNull<u8>> {
        // SAFETY: takes addresses that are free or ours, or gives null.
        let ptr = unsafe { VirtualAlloc(without_provenance_mut(at), len, kind, protect) };
        NonNull::new(ptr.cast()).ok_or_else(io::Error::last_os_error)
    }

    fn done(result: i32) -> io::Result<()> {
        match result {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    pub fn map(len: usize) -> io::Result<NonNull<u8>> {
        allocate(0, len, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE)
    }

    pub fn map_low(len: usize) -> Option<NonNull<u8>> {
        super::wishes()
            .find_map(|at| allocate(at, len, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE).ok())
    }

    pub fn reserve(len: usize) -> io::Result<NonNull<u8>> {
        allocate(0, len, MEM_RESERVE, PAGE_NOACCESS)
    }

    pub fn open(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        allocate(ptr.as_ptr().addr(), len, MEM_COMMIT, PAGE_READWRITE).map(|_| ())
    }

    pub fn close(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: our own reservation, of which nobody uses this part any more.
        done(unsafe { VirtualFree(ptr.as_ptr().cast(), len, MEM_DECOMMIT) })
    }

    pub fn seal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        let mut old = 0;
        // SAFETY: our own allocation, which nobody writes to any more.
        done(unsafe { VirtualProtect(ptr.as_ptr().cast(), len, PAGE_EXECUTE_READ, &mut old) })
    }

    pub fn unseal(ptr: NonNull<u8>, len: usize) -> io::Result<()> {
        let mut old = 0;
        // SAFETY: our own allocation, which nobody runs any more.
        done(unsafe { VirtualProtect(ptr.as_ptr().cast(), len, PAGE_READWRITE, &mut old) })
    }

    pub fn unmap(ptr: NonNull<u8>, _: usize) {
        // SAFETY: our own allocation, its owner is being dropped; a release takes length 0.
        unsafe { VirtualFree(ptr.as_ptr().cast(), 0, MEM_RELEASE) };
    }
}

#[cfg(not(any(unix, windows)))]
mod os {
    use std::io;
    use std::ptr::NonNull;

    fn none<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn map(_: usize) -> io::Result<NonNull<u8>> {
        none()
    }

    pub fn map_low(_: usize) -> Option<NonNull<u8>> {
        None
    }

    pub fn reserve(_: usize) -> io::Result<NonNull<u8>> {
        none()
    }

    pub fn open(_: NonNull<u8>, _: usize) -> io::Result<()> {
        none()
    }

    pub fn close(_: NonNull<u8>, _: usize) -> io::Result<()> {
        none()
    }

    pub fn seal(_: NonNull<u8>, _: usize) -> io::Result<()> {
        none()
    }

    pub fn unseal(_: NonNull<u8>, _: usize) -> io::Result<()> {
        none()
    }

    pub fn unmap(_: NonNull<u8>, _: usize) {}
}
