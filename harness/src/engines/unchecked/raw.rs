//! Loads and stores at an address, unchecked.
#![allow(unsafe_code)]

use bpfassay_isa::Size;

/// Reads memory as the program does.
///
/// # Safety
/// `size` bytes at `addr` are readable.
#[inline(always)]
pub unsafe fn load(addr: u64, size: Size) -> u64 {
    let at = addr as usize;
    use std::ptr::with_exposed_provenance as pointer;
    // SAFETY: the caller's promise; alignment is not asked for.
    unsafe {
        match size {
            Size::B => pointer::<u8>(at).read() as u64,
            Size::H => u16::from_le(pointer::<u16>(at).read_unaligned()) as u64,
            Size::W => u32::from_le(pointer::<u32>(at).read_unaligned()) as u64,
            Size::Dw => u64::from_le(pointer::<u64>(at).read_unaligned()),
        }
    }
}

/// Writes memory as the program does.
///
/// # Safety
/// `size` bytes at `addr` are writable and no reference to them is held.
#[inline(always)]
pub unsafe fn store(addr: u64, size: Size, value: u64) {
    let at = addr as usize;
    use std::ptr::with_exposed_provenance_mut as pointer;
    // SAFETY: the caller's promise; alignment is not asked for.
    unsafe {
        match size {
            Size::B => pointer::<u8>(at).write(value as u8),
            Size::H => pointer::<u16>(at).write_unaligned((value as u16).to_le()),
            Size::W => pointer::<u32>(at).write_unaligned((value as u32).to_le()),
            Size::Dw => pointer::<u64>(at).write_unaligned(value.to_le()),
        }
    }
}
