//! Kernel images as packages hold them: ELF vmlinux, x86 bzImage, arm64 Image and EFI zboot images, and what they are
//! compressed with.
//!
//! `Documentation/arch/x86/boot.rst` (payload_offset, payload_length), `drivers/firmware/efi/libstub/zboot-header.S`.

use std::io::Read;

/// Largest image after decompression; a kernel has some 50 MiB.
const MAX_IMAGE: u64 = 512 << 20;

/// The uncompressed kernel in a file: ELF or a flat Image.
///
/// # Errors
/// What the file is not.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.starts_with(b"\x7fELF") {
        return Ok(bytes.to_vec());
    }
    if let Some(payload) = bzimage(bytes).or_else(|| zboot(bytes)) {
        return decompress(payload);
    }
    // An arm64 Image is flat; `ARM\x64` stands at 56.
    if bytes.get(56..60) == Some(b"ARM\x64") {
        return Ok(bytes.to_vec());
    }
    decompress(bytes)
        .map_err(|_| "neither an ELF vmlinux, a bzImage nor an arm64 Image".to_string())
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

/// Payload of an x86 image.
fn bzimage(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.get(0x202..0x206)? == b"HdrS" || bytes.get(0x1fe..0x200)? == [0x55, 0xaa] {
        let setup = match *bytes.get(0x1f1)? {
            0 => 4,
            n => usize::from(n),
        };
        let start = (setup + 1) * 512 + word(bytes, 0x248)?;
        return bytes.get(start..start.checked_add(word(bytes, 0x24c)?)?);
    }
    None
}

/// Payload of an EFI image that unpacks itself.
fn zboot(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.get(..2)? != b"MZ" || bytes.get(4..8)? != b"zimg" {
        return None;
    }
    let start = word(bytes, 8)?;
    bytes.get(start..start.checked_add(word(bytes, 12)?)?)
}

/// Unpacks gzip, zstd, xz or LZ4 by the magic number; bytes behind the stream (the length of what comes out, as
/// images have it) do not count.
///
/// # Errors
/// An unknown or broken stream.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let result = match bytes {
        [0x1f, 0x8b, ..] => read(flate2::read::GzDecoder::new(bytes)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match ruzstd::decoding::StreamingDecoder::new(bytes) {
            Ok(stream) => read(stream),
            Err(e) => return Err(e.to_string()),
        },
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read(lzma_rust2::XzReader::new(bytes, false)),
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => {
            read(lz4_flex::frame::FrameDecoder::new(bytes))
        }
        _ => return Err("no compression that is known (gzip, zstd, xz, LZ4)".to_string()),
    };
    result.map_err(|e| e.to_string())
}

fn read(stream: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let end = stream.take(MAX_IMAGE).read_to_end(&mut out);
    match end {
        Ok(_) => Ok(out),
        // What follows the stream is not compressed data.
        Err(_) if out.len() > 1 << 20 => Ok(out),
        Err(e) => Err(e),
    }
}

/// Contents of an ELF section, of any file.
pub fn section(elf: &[u8], name: &str) -> Option<Vec<u8>> {
    use object::{Object, ObjectSection};
    let file = object::File::parse(elf).ok()?;
    let data = file.section_by_name(name)?.uncompressed_data().ok()?;
    Some(data.into_owned())
}

/// The BTF in an uncompressed kernel: section `.BTF`, or, in a flat image, what begins as BTF does and is as long
/// as its header says.
pub fn btf(kernel: &[u8]) -> Option<Vec<u8>> {
    if kernel.starts_with(b"\x7fELF") {
        return section(kernel, ".BTF");
    }
    let head = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0];
    let mut at = 0;
    while let Some(found) = kernel.get(at..)?.windows(head.len()).position(|w| w == head) {
        let start = at + found;
        let (types, strings_at, strings) =
            (word(kernel, start + 12)?, word(kernel, start + 16)?, word(kernel, start + 20)?);
        if strings_at == types && types > 1 << 20 {
            return kernel.get(start..start + 24 + types + strings).map(<[u8]>::to_vec);
        }
        at = start + head.len();
    }
    None
}

/// `uname -r`, from the banner `Linux version …`.
pub fn release(kernel: &[u8]) -> Option<String> {
    let banner = b"Linux version ";
    let start = kernel.windows(banner.len()).position(|w| w == banner)? + banner.len();
    let rest = kernel.get(start..start + 128)?;
    let end = rest.iter().position(|b| *b == b' ')?;
    let text = std::str::from_utf8(rest.get(..end)?).ok()?;
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.to_string())
}
