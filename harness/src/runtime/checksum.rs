//! The Internet checksum as the kernel computes it (include/net/checksum.h, arch/x86/lib/csum-partial_64.c).
//!
//! Sums are in ones' complement, so 0 and all-ones mean the same and only the
//! kernel's order of folding says which one comes out.

/// `csum_partial`: sum of little-endian words, folded to 32 bits.
pub fn partial(data: &[u8], seed: u32) -> u32 {
    let mut sum = seed as u64;
    for chunk in data.chunks(8) {
        let mut word = [0u8; 8];
        if let Some(w) = word.get_mut(..chunk.len()) {
            w.copy_from_slice(chunk);
        }
        let (s, carry) = sum.overflowing_add(u64::from_le_bytes(word));
        sum = s.wrapping_add(carry as u64);
    }
    (sum.wrapping_add(sum.rotate_right(32)) >> 32) as u32
}

/// `csum_add`.
pub fn add(a: u32, b: u32) -> u32 {
    let (s, carry) = a.overflowing_add(b);
    s.wrapping_add(carry as u32)
}

/// `csum_sub`.
pub fn sub(a: u32, b: u32) -> u32 {
    add(a, !b)
}

/// `csum_from32to16`.
pub fn fold16(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// `csum_fold`: folded and complemented.
pub fn fold(sum: u32) -> u16 {
    !fold16(sum)
}

/// `csum_replace_by_diff`.
pub fn replace_by_diff(old: u16, diff: u32) -> u16 {
    fold(add(diff, !(old as u32)))
}

/// `csum_replace4`.
pub fn replace4(old: u16, from: u32, to: u32) -> u16 {
    fold(add(sub(!(old as u32), from), to))
}

/// `csum_replace2`.
pub fn replace2(old: u16, from: u16, to: u16) -> u16 {
    !add16(add16(!old, !from), to)
}

/// `csum16_add`.
fn add16(a: u16, b: u16) -> u16 {
    let (s, carry) = a.overflowing_add(b);
    s.wrapping_add(carry as u16)
}
