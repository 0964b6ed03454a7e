//! Instructions that are replaced and removed, with what jumps over them (`bpf_patch_insn_data`, `verifier_remove_insns`).

use std::sync::Arc;

use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_FUNC};
use bpfassay_isa::RawInsn;

use crate::env::InsnAux;

/// An instruction as the kernel runs it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    pub insn: RawInsn,
    /// Symbol of what is called or whose address is loaded; the number is the boot's own, and 0 here.
    pub symbol: Option<Arc<str>>,
    /// Index in [`Program::maps`](bpfassay_object::model::Program::maps) of the map whose address this is.
    pub map: Option<u32>,
}

impl From<RawInsn> for Slot {
    fn from(insn: RawInsn) -> Slot {
        Slot { insn, ..Slot::default() }
    }
}

/// A program on its way to what the kernel runs.
pub(super) struct Patched {
    pub slots: Vec<Slot>,
    /// Facts of the instruction that stands there, which is the last of those put in its place.
    pub aux: Vec<InsnAux>,
    /// First slot and stack depth of each subprogram, main first.
    pub subprogs: Vec<(u32, u16)>,
    /// The function of each of them in the program's records; none for what nobody wrote.
    pub functions: Vec<Option<u32>>,
    /// Where each line of the source begins: slot, and index of its record.
    pub lines: Vec<(u32, u32)>,
}

/// Where the distance of a jump, a call or a function's address stands.
enum Reach {
    Off,
    Imm,
}

fn reach(insn: RawInsn) -> Option<Reach> {
    if insn.is_ld_imm64() {
        return (insn.src == PSEUDO_FUNC).then_some(Reach::Imm);
    }
    if !insn.is_jump_class() || insn.is_exit() || insn.is_gotox() {
        return None;
    }
    if insn.is_call() {
        return (insn.src == PSEUDO_CALL).then_some(Reach::Imm);
    }
    Some(if insn.is_gotol() { Reach::Imm } else { Reach::Off })
}

fn distance(insn: RawInsn, by: &Reach) -> i64 {
    match by {
        Reach::Off => insn.off.into(),
        Reach::Imm => insn.imm.into(),
    }
}

/// None where the distance no longer fits.
fn moved(mut insn: RawInsn, by: &Reach, delta: i64) -> Option<RawInsn> {
    let new = distance(insn, by) + delta;
    match by {
        Reach::Off => insn.off = i16::try_from(new).ok()?,
        Reach::Imm => insn.imm = i32::try_from(new).ok()?,
    }
    Some(insn)
}

impl Patched {
    pub fn insn(&self, at: usize) -> RawInsn {
        self.slots[at].insn
    }

    /// Puts `with` in place of the instruction at `at`; None where a jump no longer reaches.
    pub fn patch(&mut self, at: usize, with: Vec<Slot>) -> Option<()> {
        let grown = with.len() - 1;
        self.slots.splice(at..=at, with);
        if grown == 0 {
            return Some(());
        }
        let fresh = InsnAux { seen: self.aux[at].seen, ..InsnAux::default() };
        self.aux.splice(at..at, std::iter::repeat_n(fresh, grown));
        for (start, _) in self.subprogs.iter_mut().filter(|(s, _)| *s as usize > at) {
            *start += grown as u32;
        }
        for (slot, _) in self.lines.iter_mut().filter(|(s, _)| *s as usize > at) {
            *slot += grown as u32;
        }
        self.retarget(at as i64, at as i64 + 1, (at + 1 + grown) as i64)
    }

    /// Brings jumps across `[pos, old_end)`, which is now `[pos, new_end)`, to where they went (`bpf_adj_branches`).
    fn retarget(&mut self, pos: i64, old_end: i64, new_end: i64) -> Option<()> {
        let delta = new_end - old_end;
        for (i, slot) in self.slots.iter_mut().enumerate() {
            let insn = &mut slot.insn;
            let Some(by) = reach(*insn) else { continue };
            let (i, to) = (i as i64, i as i64 + distance(*insn, &by) + 1);
            if i < pos && to >= old_end {
                *insn = moved(*insn, &by, delta)?;
            } else if i >= new_end && to < new_end {
                *insn = moved(*insn, &by, -delta)?;
            }
        }
        Some(())
    }

    /// Jumps to `to` go `delta` slots farther (`adjust_jmp_off`): to behind what was put at a beginning.
    pub fn push_targets(&mut self, to: usize, delta: usize) -> Option<()> {
        for i in to + delta..self.slots.len() {
            let insn = self.slots[i].insn;
            let Some(by) = reach(insn).filter(|_| insn.is_jump_class() && !insn.is_call()) else {
                continue;
            };
            if i as i64 + 1 + distance(insn, &by) == to as i64 {
                self.slots[i].insn = moved(insn, &by, delta as i64)?;
            }
        }
        Some(())
    }

    /// Lines of `[start, end)` go; the last of them is the one of what follows, if that has none
    /// (`bpf_adj_linfo_after_remove`).
    fn remove_lines(&mut self, start: u32, end: u32) {
        let first = self.lines.partition_point(|(s, _)| *s < start);
        let mut last = self.lines.partition_point(|(s, _)| *s < end);
        let is_tail = self.slots.len() as u32 == start;
        let has_own = self.lines.get(last).is_some_and(|(s, _)| *s == end);
        if !is_tail && last > first && !has_own {
            last -= 1;
            self.lines[last].0 = end;
        }
        self.lines.drain(first..last);
        for (slot, _) in &mut self.lines[first..] {
            *slot -= end - start;
        }
    }

    /// Removes `[from, from + count)`; what jumped there jumps behind it.  Subprograms without instructions go.
    pub fn remove(&mut self, from: usize, count: usize) -> Option<()> {
        self.slots.drain(from..from + count);
        self.aux.drain(from..from + count);
        let (start, end) = (from as u32, (from + count) as u32);
        let len = self.slots.len() as u32;
        self.remove_lines(start, end);
        let mut kept: Vec<(u32, u16)> = Vec::new();
        let mut functions = Vec::new();
        for ((s, depth), function) in self.subprogs.iter().copied().zip(&self.functions) {
            let s = if s >= end { s - count as u32 } else { s.min(start) };
            if s >= len {
                continue;
            }
            // Of two that begin at one place now, the first has no instructions left.
            if kept.pop_if(|(last, _)| *last == s).is_some() {
                functions.pop();
            }
            kept.push((s, depth));
            functions.push(*function);
        }
        (self.subprogs, self.functions) = (kept, functions);
        self.retarget(start.into(), end.into(), start.into())
    }
}
