//! Where pointers into frames go (`compute_subprog_args`, `arg_track_xfer`).

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::{decode, Insn, RawInsn, Size};

use super::track::{add, Offsets, Track};
use super::{access, print, Analysis, Instance};
use crate::cfg::const_regs::atomic_load_reg;
use crate::env::Env;

/// Registers followed, the frame pointer among them.
pub const REGS: usize = 11;
pub const FP: usize = 10;

/// What the registers may point to.
pub type Args = [Track; REGS];
/// What the slots of the function's own frame may hold, nearest first.
pub type Slots = Box<[Track; 64]>;

/// What is known before one instruction.
#[derive(Clone, Debug)]
pub struct At {
    regs: Args,
    slots: Slots,
}

impl At {
    fn new(all: Track) -> At {
        At { regs: [all; REGS], slots: Box::new([all; 64]) }
    }

    /// Registers, then slots.
    pub fn all(&self) -> impl Iterator<Item = Track> + '_ {
        self.regs.iter().chain(self.slots.iter()).copied()
    }

    /// Adds what another path knows; `changed` is told the place of each change, what stood there, what came and
    /// what stands there now.
    fn join(&mut self, from: &At, mut changed: impl FnMut(usize, [Track; 3])) {
        let mine = self.regs.iter_mut().chain(self.slots.iter_mut());
        for (place, (m, t)) in mine.zip(from.all()).enumerate().filter(|(_, (m, t))| *m != t) {
            let joined = m.join(t);
            if joined != *m {
                changed(place, [*m, t, joined]);
            }
            *m = joined;
        }
    }
}

/// Slot of an aligned offset (`fp_off_to_slot`).
fn slot_at(off: i16) -> Option<usize> {
    ((-512..0).contains(&off) && off % 8 == 0).then(|| (-i32::from(off)) as usize / 8 - 1)
}

impl Analysis {
    /// Follows one function from its entry, records accesses, and remembers the state before each instruction.
    pub(super) fn flow(&mut self, env: &mut Env<'_>, pass: &mut Instance, entry: &Args) {
        let order = env.cfg.postorder_of(&env.subprogs, pass.subprog).to_vec();
        let at = self.solve(env, pass, entry, &order);
        for &idx in order.iter().rev() {
            let before = &at[(idx - pass.start) as usize];
            access::record(env, pass, &before.regs, idx);
            if env.insns[idx as usize].is_pseudo_call() || env.aux(idx).calls_callback {
                self.slots_at.insert(idx, before.slots.clone());
            }
        }
        if env.log.level.is_level2() {
            print::print_handed(env, pass, &at);
        }
        self.known[pass.subprog as usize] = at.iter().map(|a| a.regs).collect();
    }

    /// What holds before each instruction, by repeating the transfer until nothing changes.
    fn solve(&self, env: &mut Env<'_>, pass: &Instance, entry: &Args, order: &[u32]) -> Vec<At> {
        let shown = env.log.level.is_level2();
        let mut at = vec![At::new(Track::Unvisited); pass.len];
        at[0] = At::new(Track::None);
        at[0].regs[1..6].copy_from_slice(&entry[1..6]);
        at[0].regs[FP] = Track::frame(pass.depth, 0);
        if shown {
            print::print_start(env, pass);
        }
        let mut dirty = vec![true; pass.len];
        let mut changed = true;
        while changed {
            changed = false;
            for &idx in order.iter().rev() {
                let i = (idx - pass.start) as usize;
                let visited = at[i].regs[0].is_visited() || at[i].regs[1].is_visited();
                // The kernel shows each round.
                if !visited || !(std::mem::take(&mut dirty[i]) || shown) {
                    continue;
                }
                let mut out = at[i].clone();
                self.transfer(env.insns[idx as usize], pass.depth, &mut out);
                if shown {
                    print::print_change(env, idx, &at[i], &out);
                }
                for way in 0..env.successors(idx).as_slice().len() {
                    let target = env.successors(idx).as_slice()[way];
                    let s = target.wrapping_sub(pass.start) as usize;
                    let Some(into) = at.get_mut(s) else { continue };
                    let mut merged = false;
                    into.join(&out, |place, tracks| {
                        merged = true;
                        if shown {
                            print::print_join(env, (idx, target), place, tracks);
                        }
                    });
                    dirty[s] |= merged;
                    changed |= merged;
                }
            }
        }
        at
    }

    fn transfer(&self, insn: RawInsn, depth: usize, at: &mut At) {
        let (d, s) = (insn.dst as usize, insn.src as usize);
        let (dst, src) = (at.regs[d], at.regs[s]);
        match insn.class() {
            Class::Alu64 => at.regs[d] = alu64(insn, dst, src),
            // What is left of a pointer is none.
            Class::Alu => at.regs[d] = Track::None,
            Class::Jmp if insn.jmp_op() == JmpCode::Call && !insn.is_src_reg() => {
                at.regs[..6].fill(Track::None)
            }
            Class::Ldx => at.regs[d] = self.load(insn, depth, at),
            Class::Ld if insn.mode() == Mode::Imm => at.regs[d] = Track::None,
            Class::St | Class::Stx => store(insn, depth, at),
            _ => {}
        }
    }

    fn load(&self, insn: RawInsn, depth: usize, at: &At) -> Track {
        if insn.mode() != Mode::Mem || insn.size() != Size::Dw {
            return Track::None;
        }
        let src = at.regs[insn.src as usize];
        if is_local(insn.src, src, depth) {
            return fill(insn, src, &at.slots, depth);
        }
        match src {
            Track::Frame(f, _) if (f as usize) < depth => {
                let slots = self.slots_at.get(&self.callsites[f as usize]);
                slots.map_or(Track::None, |s| fill(insn, src, s, f as usize))
            }
            Track::Imprecise(mask) if mask != 0 => src,
            _ => Track::None,
        }
    }
}

fn alu64(insn: RawInsn, dst: Track, src: Track) -> Track {
    let op = insn.alu_op();
    if insn.is_src_reg() {
        return match (op, insn.off) {
            (AluCode::Mov, 0) => src,
            (AluCode::Mov, _) => Track::None,
            _ => dst.combined(src),
        };
    }
    match (op, dst) {
        (AluCode::Mov, _) => Track::None,
        (AluCode::Add, Track::Frame(f, o)) => Track::Frame(f, moved(o, i64::from(insn.imm))),
        (AluCode::Sub, Track::Frame(f, o)) => Track::Frame(f, moved(o, -i64::from(insn.imm))),
        (_, Track::Frame(f, _)) => Track::Frame(f, Offsets::ANY),
        (_, other) => other,
    }
}

fn moved(o: Offsets, by: i64) -> Offsets {
    if o.is_any() {
        o
    } else {
        o.moved(by)
    }
}

/// May point into the running function's own frame (`can_be_local_fp`).
fn is_local(reg: u8, track: Track, depth: usize) -> bool {
    reg as usize == FP || track.may_be_local(depth)
}

/// What an eight-byte load gives back (`fill_from_stack`).
fn fill(insn: RawInsn, src: Track, slots: &[Track; 64], depth: usize) -> Track {
    let lost = Track::Imprecise(((1u32 << (depth + 1)) - 1) as u16);
    if insn.src as usize == FP {
        return slot_at(insn.off).map_or(lost, |s| slots[s]);
    }
    let offs = src.offsets();
    if offs.is_any() {
        return lost;
    }
    let mut out = Track::None;
    for o in offs.as_slice() {
        let Some(slot) = add(*o, insn.off.into()).and_then(slot_at) else { return lost };
        out = out.join(slots[slot]);
    }
    out
}

fn store(insn: RawInsn, depth: usize, at: &mut At) {
    let dst = at.regs[insn.dst as usize];
    let local = is_local(insn.dst, dst, depth);
    match (insn.class(), insn.mode()) {
        (Class::Stx, Mode::Mem) if local => {
            let whole = insn.size() == Size::Dw;
            let value = if whole { at.regs[insn.src as usize] } else { Track::None };
            spill(insn, dst, &mut at.slots, value);
        }
        (Class::Stx, Mode::Atomic) => {
            if local && !matches!(decode(insn, None), Ok(Insn::LoadAcquire { .. })) {
                clear(insn, dst, &mut at.slots);
            }
            if let Some(r) = atomic_load_reg(insn) {
                at.regs[r.index()] = Track::None;
            }
        }
        (Class::St, Mode::Mem) if local => clear(insn, dst, &mut at.slots),
        _ => {}
    }
}

/// `spill_to_stack`
fn spill(insn: RawInsn, dst: Track, slots: &mut [Track; 64], value: Track) {
    if insn.dst as usize == FP {
        if let Some(slot) = slot_at(insn.off) {
            slots[slot] = value;
        }
        return;
    }
    let offs = dst.offsets();
    if offs.is_any() {
        slots.iter_mut().for_each(|s| *s = s.join(value));
    }
    let alone = offs.as_slice().len() == 1;
    for o in offs.as_slice() {
        if let Some(slot) = add(*o, insn.off.into()).and_then(slot_at) {
            slots[slot] = if alone { value } else { slots[slot].join(value) };
        }
    }
}

/// `clear_stack_for_all_offs`
fn clear(insn: RawInsn, dst: Track, slots: &mut [Track; 64]) {
    let size = insn.size().bytes() as i32;
    if insn.dst as usize == FP {
        return clear_at(slots, insn.off.into(), size, true);
    }
    let offs = dst.offsets();
    let all = |slots: &mut [Track; 64]| slots.iter_mut().for_each(|s| *s = s.join(Track::None));
    if offs.is_any() {
        return all(slots);
    }
    for o in offs.as_slice() {
        match add(*o, insn.off.into()) {
            Some(off) => clear_at(slots, off.into(), size, offs.as_slice().len() == 1),
            None => return all(slots),
        }
    }
}

fn clear_at(slots: &mut [Track; 64], off: i32, size: i32, alone: bool) {
    for (i, s) in slots.iter_mut().enumerate() {
        let start = -(i as i32 + 1) * 8;
        if start < off + size && start + 8 > off {
            *s = if alone { Track::None } else { s.join(Track::None) };
        }
    }
}
