//! Names that DWARF has for registers and stack bytes, for people only: no verdict looks at them.
//!
//! An object's sections are kept as they are in the file and read when a name is first asked for; what cannot be
//! read has no names.

mod read;
mod sections;

use std::ops::Range;
use std::sync::OnceLock;

use crate::elf::Elf;
use crate::model::Program;
use sections::Sections;

/// Debug information of one object.
#[derive(Debug)]
pub struct Debug {
    sections: Sections,
    variables: OnceLock<Vec<Variable>>,
}

/// A variable or parameter, with the places where its value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    pub name: String,
    /// Bytes, where the type has a size.
    pub size: Option<u64>,
    /// Elements, if it is an array.
    pub count: Option<u64>,
    /// Name of its type, if that is a struct or union.
    pub composite: Option<String>,
    /// How deep its scope is nested.
    depth: usize,
    /// Addresses at which it is in a place, end exclusive.
    places: Vec<(Range<u64>, Spot)>,
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spot {
    Register(u8),
    /// Bytes from the frame pointer.
    Stack(i64),
    /// Bytes from the lowest byte of the frame.
    Frame(i64),
}

impl Debug {
    /// None where the object has no DWARF.
    pub(crate) fn of(elf: &Elf<'_>) -> Option<Debug> {
        let sections = Sections::of(elf)?;
        Some(Debug { sections, variables: OnceLock::new() })
    }

    fn variables(&self) -> &[Variable] {
        self.variables.get_or_init(|| read::variables(&self.sections))
    }

    /// Address of a program's instruction in the sections as they are read here.
    fn address(&self, program: &Program, insn: u32) -> Option<u64> {
        let from = program
            .subprogs
            .iter()
            .find(|s| insn.checked_sub(s.insn_off).is_some_and(|n| n < s.insn_cnt))?;
        let slot = u64::from(from.section_insn_off + (insn - from.insn_off));
        Some(self.sections.base_of(&from.section)? + slot * 8)
    }

    /// The variable that a register holds before an instruction; of several that of the innermost scope.
    pub fn in_register(&self, program: &Program, insn: u32, register: u8) -> Option<&Variable> {
        let at = self.address(program, insn)?;
        let holds = |v: &&Variable| {
            v.places.iter().any(|(r, s)| r.contains(&at) && *s == Spot::Register(register))
        };
        self.variables().iter().filter(holds).max_by_key(|v| v.depth)
    }

    /// The variable on the stack that has the byte at `offset` from the frame pointer, and its first byte.
    pub fn on_stack(&self, program: &Program, insn: u32, offset: i64) -> Option<(&Variable, i64)> {
        let at = self.address(program, insn)?;
        let lowest = lowest_byte(program, insn)?;
        let starts = |v: &Variable| {
            v.places.iter().filter(|(r, _)| r.contains(&at)).find_map(|(_, s)| match s {
                Spot::Stack(off) => Some(*off),
                Spot::Frame(off) => Some(lowest + off),
                Spot::Register(_) => None,
            })
        };
        let has = |v: &Variable| {
            let from = starts(v)?;
            let end = from + i64::try_from(v.size?).ok()?;
            (from <= offset && offset < end && end <= 0).then_some(from)
        };
        let all = self.variables().iter().filter_map(|v| Some((v, has(v)?)));
        all.max_by_key(|(v, _)| v.depth)
    }
}

/// The lowest byte of the frame that the function around an instruction touches, in whole slots.
///
/// DWARF counts from the bottom of the frame, whose size the compiler does not write down.
fn lowest_byte(program: &Program, insn: u32) -> Option<i64> {
    const FRAME: u8 = 10;
    let of = program
        .subprogs
        .iter()
        .find(|s| insn.checked_sub(s.insn_off).is_some_and(|n| n < s.insn_cnt))?;
    let own = program.insns.get(of.insn_off as usize..(of.insn_off + of.insn_cnt) as usize)?;
    let direct = own.iter().filter(|i| i.dst == FRAME || i.src == FRAME).map(|i| i64::from(i.off));
    let moved = own.windows(2).filter(|w| w[0].src == FRAME && w[0].dst == w[1].dst);
    let moved = moved.map(|w| i64::from(w[1].imm));
    let lowest = direct.chain(moved).filter(|o| (-512..0).contains(o)).min()?;
    Some(lowest.div_euclid(8) * 8)
}

#[cfg(test)]
mod tests;
