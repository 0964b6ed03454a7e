//! Numbers in bytes, lowest first.

pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | *b as u64)
}

#[inline(always)]
pub(super) fn array<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..at + N)?.try_into().ok()
}

#[inline(always)]
pub(super) fn put<const N: usize>(b: &mut [u8], at: usize, v: [u8; N]) -> bool {
    match b.get_mut(at..at + N) {
        Some(to) => {
            to.copy_from_slice(&v);
            true
        }
        None => false,
    }
}
