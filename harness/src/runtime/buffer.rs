//! Bytes of a region: zeroed memory that never moves, on the heap or below 4 GiB.
//!
//! A region's bytes are reached both through references and, by engines that run
//! native code, through their address.  A `Vec` promises that nobody else reaches
//! its bytes; this type holds a raw pointer and promises nothing of the kind.
//! Knows no region.
#![allow(unsafe_code)]

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::pages::Pages;

/// What the kernel's allocators give at least, and what atomics of 8 bytes need.
const ALIGN: usize = 16;

enum Origin {
    Heap,
    /// Whoever owns the bytes here gives them back.
    Low(ManuallyDrop<Pages>),
}

/// Mappings below 4 GiB that a thread keeps for its next input, and the largest of them.
const KEPT: usize = 4;
const MOST_KEPT: usize = 1 << 16;

thread_local! {
    static SPARE: RefCell<Vec<Pages>> = const { RefCell::new(Vec::new()) };
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
        let wanted = len.max(ALIGN);
        let spare = SPARE.try_with(|all| {
            let mut all = all.borrow_mut();
            let fits = all.iter().position(|p| p.len() == wanted)?;
            Some(all.swap_remove(fits))
        });
        let pages = match spare.ok().flatten() {
            Some(pages) => {
                // SAFETY: the mapping is ours, writable, and nobody has its address any more.
                unsafe { pages.start().as_ptr().write_bytes(0, pages.len()) };
                pages
            }
            None => Pages::low(wanted)?,
        };
        Some(Buffer { ptr: pages.start(), len, origin: Origin::Low(ManuallyDrop::new(pages)) })
    }

    pub fn copied(bytes: &[u8]) -> Buffer {
        let Some(mut b) = Buffer::zeroed(bytes.len()) else {
            handle_alloc_error(layout(bytes.len()).unwrap_or(Layout::new::<u8>()))
        };
        b.copy_from_slice(bytes);
        b
    }

    /// The bytes lie below 4 GiB because somebody asked for that.
    pub fn is_low(&self) -> bool {
        matches!(self.origin, Origin::Low(_))
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.ptr.as_ptr().expose_provenance() as u64
    }
}

/// Small mappings wait for the next input, the others go back.
fn keep(pages: Pages) {
    if pages.len() > MOST_KEPT {
        return;
    }
    let _ = SPARE.try_with(|all| {
        let mut all = all.borrow_mut();
        if all.len() < KEPT {
            all.push(pages);
        }
    });
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &mut self.origin {
            Origin::Heap => {
                let Some(layout) = layout(self.len) else { return };
                // SAFETY: allocated by `zeroed` with this layout, and not given back before.
                unsafe { dealloc(self.ptr.as_ptr(), layout) };
            }
            Origin::Low(pages) => {
                // SAFETY: taken once, since this is the end of the buffer.
                keep(unsafe { ManuallyDrop::take(pages) });
            }
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
