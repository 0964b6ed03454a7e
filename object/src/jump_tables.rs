//! Tables of indirect jumps: sections `.jumptables`, of which libbpf makes an instruction array for each program and
//! symbol (`create_jt_map`).

use std::sync::Arc;

use bpfassay_isa::{opcode, RawInsn};
use bpfassay_spec::MapType;

use crate::model::MapDef;
use crate::open::INSN_LEN;

/// Bytes of a row in the section.
const ROW: u64 = 8;
/// `struct bpf_insn_array_value`.
const VALUE_SIZE: u32 = 16;
const NAME: &str = ".jumptables";

/// The tables of one program, each with its offset in the section.
#[derive(Debug, Default)]
pub(crate) struct JumpTables {
    pub maps: Vec<(u64, MapDef)>,
}

/// The function a table is referred to from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its first slot in its section.
    pub in_section: usize,
    /// Its first slot in the program.
    pub in_program: usize,
}

impl JumpTables {
    /// Points the LD_IMM64 at the table of `size` bytes at `off`; its map is number `first_map` or one behind.
    pub fn refer(
        &mut self,
        section: &[u8],
        (off, size): (u64, u64),
        place: Place,
        first_map: usize,
        insn: &mut RawInsn,
    ) -> Result<(), String> {
        let number = match self.maps.iter().position(|(at, _)| *at == off) {
            Some(number) => number,
            None => {
                self.maps.push((off, table(section, off, size, place)?));
                self.maps.len() - 1
            }
        };
        insn.src = opcode::PSEUDO_MAP_VALUE;
        insn.imm = (first_map + number) as i32;
        insn.off = 0;
        Ok(())
    }
}

fn table(section: &[u8], off: u64, size: u64, place: Place) -> Result<MapDef, String> {
    if !off.is_multiple_of(ROW) || !size.is_multiple_of(ROW) {
        return Err(format!("start {off} and size {size} of a jump table are multiples of {ROW}"));
    }
    let range = usize::try_from(off).ok().zip(usize::try_from(size).ok());
    let rows = range.and_then(|(at, len)| section.get(at..at.checked_add(len)?));
    let rows = rows.ok_or_else(|| format!("jump table of {size} bytes at {off} leaves {NAME}"))?;
    if rows.is_empty() {
        return Err("jump table without rows".to_string());
    }
    let slot = |row: &[u8]| {
        let value = row.try_into().map_or(0, u64::from_le_bytes);
        let slot = (value / INSN_LEN as u64)
            .wrapping_sub(place.in_section as u64)
            .wrapping_add(place.in_program as u64);
        u32::try_from(slot).map_err(|_| format!("invalid jump table value {value:#x}"))
    };
    let targets = rows.chunks_exact(ROW as usize).map(slot).collect::<Result<Vec<u32>, _>>()?;
    Ok(MapDef {
        key_size: 4,
        value_size: VALUE_SIZE,
        max_entries: targets.len() as u32,
        targets: Some(Arc::new(targets)),
        frozen: true,
        ..MapDef::bare(NAME, NAME, MapType::InsnArray)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(slots: &[u64]) -> Vec<u8> {
        slots.iter().flat_map(|s| (s * 8).to_le_bytes()).collect()
    }

    #[test]
    fn rows_count_from_the_program_and_a_symbol_has_one_map() {
        let section = rows(&[9, 12, 10]);
        let place = Place { in_section: 5, in_program: 20 };
        let mut tables = JumpTables::default();
        let mut insn = RawInsn { code: opcode::LD_IMM64, imm: 77, ..RawInsn::default() };
        for _ in 0..2 {
            tables.refer(&section, (8, 16), place, 3, &mut insn).expect("a table");
        }
        assert_eq!((insn.src, insn.imm), (opcode::PSEUDO_MAP_VALUE, 3));
        assert_eq!(tables.maps.len(), 1);
        assert_eq!(tables.maps[0].1.targets.as_deref(), Some(&vec![27, 25]));
    }

    #[test]
    fn rows_before_the_function_and_beyond_the_section_are_refused() {
        let section = rows(&[2]);
        let place = Place { in_section: 5, in_program: 0 };
        assert!(table(&section, 0, 8, place).is_err());
        let place = Place { in_section: 0, in_program: 0 };
        assert!(table(&section, 0, 8, place).is_ok());
        assert!(table(&section, 0, 16, place).is_err());
        assert!(table(&section, 4, 8, place).is_err());
        assert!(table(&section, 0, 0, place).is_err());
    }
}
