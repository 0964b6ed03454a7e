//! Bytes of a region: zeroed memory that never moves, on the heap or below 4 GiB.
//!
//! A region's bytes are reached both through references and, by engines that run
//! native code, through their address.  A `Vec` promises that nobody else reaches
//! its bytes; this type holds a raw pointer and promises nothing of the kind.
//! Knows no region.
#![allow(unsafe_code)]

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// What the kernel's allocators give at least, and what atomics of 8 bytes need.
const ALIGN: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    Heap,
    Low,
}

/// Owned bytes at a fixed address.
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    origin: Origin,
}

// SAFETY: the memory is this value's own; shared access gives out shared slices only.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// Room for `len` bytes; at least one unit, so that an empty buffer has an address of its own.
fn layout(len: usize) -> Option<Layout> {
    Layout::from_size_align(len.max(ALIGN), ALIGN).ok()
}

impl Buffer {
    /// `len` zero bytes, not touched before somebody does; None where there is no room.
    pub fn zeroed(len: usize) -> Option<Buffer> {
        // SAFETY: the size is not zero.
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout(len)?) })?;
        Some(Buffer { ptr, len, origin: Origin::Heap })
    }

    /// `len` zero bytes below 4 GiB; None where this host has none to give.
    pub fn low(len: usize) -> Option<Buffer> {
        let ptr = low::map(len.max(ALIGN))?;
        Some(Buffer { ptr, len, origin: Origin::Low })
    }

    pub fn copied(bytes: &[u8]) -> Buffer {
        let Some(mut b) = Buffer::zeroed(bytes.len()) else {
            handle_alloc_error(layout(bytes.len()).unwrap_or(Layout::new::<u8>()))
        };
        b.copy_from_slice(bytes);
        b
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.ptr.as_ptr().expose_provenance() as u64
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match (self.origin, layout(self.len)) {
            // SAFETY: allocated by `zeroed` with this layout, and not given back before.
            (Origin::Heap, Some(layout)) => unsafe { dealloc(self.ptr.as_ptr(), layout) },
            (Origin::Heap, None) => {}
            // SAFETY: mapped by `low` with this length, and not given back before.
            (Origin::Low, _) => unsafe { low::unmap(self.ptr, self.len.max(ALIGN)) },
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `ptr` is good for `len` initialised bytes as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; native code does not run while Rust holds the slice.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
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

#[cfg(target_os = "linux")]
mod low {
    use std::ptr::NonNull;

    /// SAFETY of every call: an anonymous mapping at no address, or at one where nothing is
    /// mapped yet, touches no memory of anybody.
    fn mmap(at: usize, len: usize, extra: i32) -> Option<NonNull<u8>> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | extra;
        let at = std::ptr::without_provenance_mut::<libc::c_void>(at);
        // SAFETY: see above.
        let ptr = unsafe { libc::mmap(at, len, prot, flags, -1, 0) };
        if ptr == libc::MAP_FAILED {
            return None;
        }
        let ptr = NonNull::new(ptr.cast::<u8>())?;
        if ptr.as_ptr().addr() as u64 + len as u64 > 1 << 32 {
            // SAFETY: just mapped, with this length.
            unsafe { unmap(ptr, len) };
            return None;
        }
        Some(ptr)
    }

    #[cfg(target_arch = "x86_64")]
    pub fn map(len: usize) -> Option<NonNull<u8>> {
        mmap(0, len, libc::MAP_32BIT)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn map(len: usize) -> Option<NonNull<u8>> {
        super::wishes().find_map(|at| mmap(at, len, libc::MAP_FIXED_NOREPLACE))
    }

    /// # Safety
    /// `ptr` came from [`map`] with this length and nobody uses it any more.
    pub unsafe fn unmap(ptr: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(ptr.as_ptr().cast(), len) };
    }
}

#[cfg(windows)]
mod low {
    use std::ffi::c_void;
    use std::ptr::NonNull;

    const MEM_COMMIT_RESERVE: u32 = 0x3000;
    const MEM_RELEASE: u32 = 0x8000;
    const PAGE_READWRITE: u32 = 4;

    #[link(name = "kernel32")]
    extern "system" {
        fn VirtualAlloc(at: *mut c_void, len: usize, kind: u32, protect: u32) -> *mut c_void;
        fn VirtualFree(at: *mut c_void, len: usize, kind: u32) -> i32;
    }

    pub fn map(len: usize) -> Option<NonNull<u8>> {
        super::wishes().find_map(|at| {
            let at = std::ptr::without_provenance_mut(at);
            // SAFETY: reserves pages that are free, or gives null.
            let ptr = unsafe { VirtualAlloc(at, len, MEM_COMMIT_RESERVE, PAGE_READWRITE) };
            NonNull::new(ptr.cast::<u8>())
        })
    }

    /// # Safety
    /// `ptr` came from [`map`] and nobody uses it any more.
    pub unsafe fn unmap(ptr: NonNull<u8>, _len: usize) {
        // SAFETY: the caller's promise; a release takes length 0.
        unsafe { VirtualFree(ptr.as_ptr().cast(), 0, MEM_RELEASE) };
    }
}

/// macOS keeps the first 4 GiB of every process closed; others are not tried.
#[cfg(not(any(target_os = "linux", windows)))]
mod low {
    use std::ptr::NonNull;

    pub fn map(_len: usize) -> Option<NonNull<u8>> {
        None
    }

    /// # Safety
    /// Never called: there is nothing to give back.
    pub unsafe fn unmap(_ptr: NonNull<u8>, _len: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_has_an_address_of_its_own_and_keeps_it() {
        let (a, mut b) = (Buffer::copied(b""), Buffer::copied(b"abc"));
        assert_ne!(a.address(), b.address());
        assert_eq!((a.address() % 16, b.address() % 16), (0, 0));
        let before = b.address();
        b[1] = b'x';
        let b = Box::new(b);
        assert_eq!((b.address(), &b[..]), (before, &b"axc"[..]));
    }

    #[cfg(any(target_os = "linux", windows))]
    #[test]
    fn low_buffers_lie_below_4_gib_and_side_by_side() {
        let all: Vec<Buffer> = (0..8).map(|_| Buffer::low(70_000).unwrap()).collect();
        for b in &all {
            assert!(b.address() + b.len() as u64 <= 1 << 32);
            assert!(b.iter().all(|v| *v == 0));
        }
        let mut starts: Vec<u64> = all.iter().map(Buffer::address).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|w| w[1] - w[0] >= 70_000));
    }
}
