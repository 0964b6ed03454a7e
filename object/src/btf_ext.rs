//! `.BTF.ext`: function info, line info and CO-RE relocations per section
//! (`tools/lib/bpf/btf.c`: `btf_ext_parse`, `btf_ext_parse_sec_info`).

use std::collections::HashMap;

use crate::btf::Btf;
use crate::elf::Elf;

const MAGIC: u32 = 0xeb9f;

/// `struct bpf_core_relo`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CoreRelo {
    /// Bytes into the section.
    pub insn_off: u32,
    pub type_id: u32,
    pub access_str_off: u32,
    pub kind: u32,
}

/// Records of one ELF section; words of each record, the first being the byte offset of an instruction.
#[derive(Clone, Debug)]
pub struct SecRecords<const N: usize> {
    /// ELF section index, 0 if there is no section of that name.
    pub section: usize,
    pub name: String,
    pub records: Vec<[u32; N]>,
    /// True if offsets never decrease, which allows searching by halves.
    pub sorted: bool,
}

/// The whole of `.BTF.ext`.
#[derive(Clone, Default, Debug)]
pub struct BtfExt {
    pub funcs: Vec<SecRecords<2>>,
    pub lines: Vec<SecRecords<4>>,
    pub core: Vec<SecRecords<4>>,
}

struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn u32(&self, off: usize) -> Option<u32> {
        let b: [u8; 4] = self.0.get(off..off.checked_add(4)?)?.try_into().ok()?;
        Some(u32::from_le_bytes(b))
    }
}

/// One subsection: `off` and `len` from the header, counted from its end.
fn sections<const N: usize>(
    data: &[u8],
    hdr_len: usize,
    off: u32,
    len: u32,
    place: &HashMap<&str, usize>,
    btf: &Btf,
) -> Option<Vec<SecRecords<N>>> {
    if len == 0 {
        return Some(Vec::new());
    }
    if !off.is_multiple_of(4) {
        return None;
    }
    let start = hdr_len.checked_add(off as usize)?;
    let body = data.get(start..start.checked_add(len as usize)?)?;
    let w = Words(body);
    let rec_size = w.u32(0)? as usize;
    if rec_size < N * 4 || !rec_size.is_multiple_of(4) || body.len() == 4 {
        return None;
    }
    let mut out: Vec<SecRecords<N>> = Vec::new();
    let mut at = 4;
    while at < body.len() {
        let (name_off, count) = (w.u32(at)?, w.u32(at + 4)? as usize);
        let end = (at + 8).checked_add(count.checked_mul(rec_size)?)?;
        let rows = body.get(at + 8..end).filter(|_| count > 0)?;
        let records: Vec<[u32; N]> = rows
            .chunks_exact(rec_size)
            .map(|r| std::array::from_fn(|i| Words(r).u32(i * 4).unwrap_or(0)))
            .collect();
        let name = btf.str(name_off).to_string();
        out.push(SecRecords {
            section: place.get(name.as_str()).copied().unwrap_or(0),
            name,
            sorted: records.windows(2).all(|p| p[0][0] <= p[1][0]),
            records,
        });
        at = end;
    }
    Some(out)
}

impl BtfExt {
    /// `None` where libbpf ignores the section: malformed, of another version, or empty.
    pub fn parse(data: &[u8], btf: &Btf, elf: &Elf<'_>) -> Option<BtfExt> {
        let w = Words(data);
        let first = w.u32(0)?;
        // Magic, version 1, no flags.
        if first != MAGIC | 1 << 16 {
            return None;
        }
        let hdr_len = w.u32(4)? as usize;
        if hdr_len < 24 || data.len() <= hdr_len {
            return None;
        }
        let mut place: HashMap<&str, usize> = HashMap::new();
        for s in elf.sections.iter().skip(1) {
            place.entry(&s.name).or_insert(s.index);
        }
        let funcs = sections(data, hdr_len, w.u32(8)?, w.u32(12)?, &place, btf)?;
        let lines = sections(data, hdr_len, w.u32(16)?, w.u32(20)?, &place, btf)?;
        let core = match hdr_len >= 32 {
            true => sections(data, hdr_len, w.u32(24)?, w.u32(28)?, &place, btf)?,
            false => Vec::new(),
        };
        Some(BtfExt { funcs, lines, core })
    }
}

impl<const N: usize> SecRecords<N> {
    /// Numbers of the records from the first to the last whose instruction lies in slots `start..end`, as libbpf copies
    /// them: it stops at the first record at or past the end, and takes what lies between along.
    pub fn range(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let slot = |r: &[u32; N]| r[0] as usize / 8;
        if self.sorted {
            return self.records.partition_point(|r| slot(r) < start)
                ..self.records.partition_point(|r| slot(r) < end);
        }
        let stop = self.records.iter().position(|r| slot(r) >= end).unwrap_or(self.records.len());
        let mut inside =
            (0..stop).filter(|i| self.records.get(*i).is_some_and(|r| slot(r) >= start));
        match (inside.next(), inside.next_back()) {
            (Some(a), Some(b)) => a..b + 1,
            (Some(a), None) => a..a + 1,
            _ => 0..0,
        }
    }
}
