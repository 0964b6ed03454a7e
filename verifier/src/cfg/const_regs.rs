//! Registers that hold one constant whenever an instruction is reached, by data flow alone, and the branches that
//! those decide (`kernel/bpf/const_fold.c` of 7.2).

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::{decode, Cond, RawInsn, Reg, Size};

use super::order;
use crate::check::map_value::{direct_read, is_known_contents};
use crate::domain::reg::MapId;
use crate::env::{AuxUse, Env};
use crate::stop::Check;
use crate::subprogs::find_subprog;

/// Registers followed; R10 is never constant.
const REGS: usize = 11;

/// What is known of a register (`struct const_arg_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    Unvisited,
    Unknown,
    Const(u64),
    Map(MapId),
    /// Map and offset into its value.
    MapValue(MapId, u64),
    Subprog(u32),
}

/// Registers of one instruction whose value fits 32 bits, or which hold a map or a subprogram.
#[derive(Clone, Copy, Default, Debug)]
pub struct ConstRegs {
    consts: u16,
    maps: u16,
    subprogs: u16,
    values: [u32; 10],
}

impl ConstRegs {
    fn value(&self, mask: u16, r: Reg) -> Option<u32> {
        (mask >> r.0 & 1 != 0).then(|| self.values[r.index()])
    }

    /// The constant in a register, zero-extended.
    pub fn constant(&self, r: Reg) -> Option<u32> {
        self.value(self.consts, r)
    }

    pub fn map(&self, r: Reg) -> Option<MapId> {
        self.value(self.maps, r).map(MapId)
    }

    pub fn subprog(&self, r: Reg) -> Option<u32> {
        self.value(self.subprogs, r)
    }
}

/// Fills `env.const_regs` (`bpf_compute_const_regs`).
pub fn compute_const_regs(env: &mut Env<'_>) -> Check {
    let n = env.insns.len();
    let mut at: Vec<[Known; REGS]> = vec![[Known::Unvisited; REGS]; n];
    for sub in &env.subprogs {
        at[sub.start as usize] = [Known::Unknown; REGS];
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &idx in env.cfg.postorder.iter().rev() {
            let mut out = at[idx as usize];
            transfer(env, idx, &mut out)?;
            for &s in env.successors(idx).as_slice() {
                if let Some(into) = at.get_mut(s as usize) {
                    changed |= join(into, &out);
                }
            }
        }
    }
    env.const_regs = at.iter().map(remember).collect();
    Ok(())
}

fn remember(known: &[Known; REGS]) -> ConstRegs {
    let mut c = ConstRegs::default();
    for (r, k) in known.iter().enumerate().take(10) {
        let (mask, v) = match *k {
            Known::Const(v) => match u32::try_from(v) {
                Ok(v) => (&mut c.consts, v),
                Err(_) => continue,
            },
            Known::Map(m) => (&mut c.maps, m.0),
            Known::Subprog(s) => (&mut c.subprogs, s),
            _ => continue,
        };
        *mask |= 1 << r;
        c.values[r] = v;
    }
    c
}

fn join(into: &mut [Known; REGS], out: &[Known; REGS]) -> bool {
    let mut changed = false;
    for (old, new) in into.iter_mut().zip(out) {
        if *old == Known::Unvisited && *new != Known::Unvisited {
            *old = *new;
            changed = true;
        } else if !matches!(*old, Known::Unknown | Known::Unvisited) && old != new {
            *old = Known::Unknown;
            changed = true;
        }
    }
    changed
}

fn transfer(env: &Env<'_>, idx: u32, regs: &mut [Known; REGS]) -> Check {
    let insn = env.insns[idx as usize];
    let (dst, src) = (insn.dst as usize, insn.src as usize);
    match insn.class() {
        Class::Alu | Class::Alu64 => regs[dst] = alu(insn, regs[dst], regs[src]),
        Class::Ld if matches!(insn.mode(), Mode::Abs | Mode::Ind) => regs[..6].fill(Known::Unknown),
        Class::Ld if insn.is_ld_imm64() => regs[dst] = load_imm64(env, idx, insn),
        Class::Ldx => regs[dst] = load(env, insn, regs[src])?,
        Class::Jmp if insn.jmp_op() == JmpCode::Call && !insn.is_src_reg() => {
            regs[..6].fill(Known::Unknown)
        }
        Class::Stx => {
            if let Some(r) = atomic_load_reg(insn) {
                regs[r.index()] = Known::Unknown;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Register that an atomic operation loads into (`bpf_atomic_load_reg`).
pub fn atomic_load_reg(insn: RawInsn) -> Option<Reg> {
    use bpfassay_isa::Insn;
    if insn.class() != Class::Stx || insn.mode() != Mode::Atomic {
        return None;
    }
    if insn.atomic_rmw() == Some(bpfassay_isa::AtomicOp::Cmpxchg) {
        return Some(Reg::R0);
    }
    match decode(insn, None) {
        Ok(Insn::LoadAcquire { .. }) => Some(Reg(insn.dst)),
        Ok(Insn::StoreRelease { .. }) => None,
        _ => (insn.imm & bpfassay_isa::opcode::ATOMIC_FETCH != 0).then_some(Reg(insn.src)),
    }
}

fn alu(insn: RawInsn, dst: Known, src: Known) -> Known {
    let imm = insn.imm as i64 as u64;
    let out = match (insn.alu_op(), insn.is_src_reg()) {
        (AluCode::Mov, false) => Known::Const(imm),
        (AluCode::Mov, true) => match (src, insn.off) {
            (known, 0) => known,
            (Known::Const(v), 8) => Known::Const(v as i8 as i64 as u64),
            (Known::Const(v), 16) => Known::Const(v as i16 as i64 as u64),
            (Known::Const(v), 32) => Known::Const(v as i32 as i64 as u64),
            _ => Known::Unknown,
        },
        (AluCode::Add, false) => moved(dst, imm),
        (AluCode::Sub, false) => moved(dst, imm.wrapping_neg()),
        (AluCode::And, false) => match dst {
            Known::Const(v) => Known::Const(v & imm),
            _ if imm == 0 => Known::Const(0),
            _ => Known::Unknown,
        },
        (AluCode::And, true) => match (dst, src) {
            (Known::Const(0), _) | (_, Known::Const(0)) => Known::Const(0),
            (Known::Const(a), Known::Const(b)) => Known::Const(a & b),
            _ => Known::Unknown,
        },
        _ => Known::Unknown,
    };
    match (insn.class(), out) {
        (Class::Alu, Known::Const(v)) => Known::Const(u64::from(v as u32)),
        (Class::Alu, _) => Known::Unknown,
        (_, out) => out,
    }
}

fn moved(dst: Known, by: u64) -> Known {
    match dst {
        Known::Const(v) => Known::Const(v.wrapping_add(by)),
        Known::MapValue(m, off) => Known::MapValue(m, off.wrapping_add(by)),
        _ => Known::Unknown,
    }
}

fn load_imm64(env: &Env<'_>, idx: u32, insn: RawInsn) -> Known {
    if insn.is_pseudo_func() {
        let start = i64::from(idx) + i64::from(insn.imm) + 1;
        return find_subprog(env, start).map_or(Known::Unknown, Known::Subprog);
    }
    let is_value = matches!(
        insn.src,
        bpfassay_isa::opcode::PSEUDO_MAP_VALUE | bpfassay_isa::opcode::PSEUDO_MAP_IDX_VALUE
    );
    match env.aux(idx).used {
        AuxUse::Map { map, off } if is_value => Known::MapValue(map, u64::from(off)),
        AuxUse::Map { map, .. } => Known::Map(map),
        _ if insn.src == 0 => {
            let high = env.insns.get(idx as usize + 1).map_or(0, |i| i.imm as u32);
            Known::Const(u64::from(insn.imm as u32) | u64::from(high) << 32)
        }
        _ => Known::Unknown,
    }
}

fn load(env: &Env<'_>, insn: RawInsn, src: Known) -> Check<Known> {
    let Known::MapValue(map, at) = src else { return Ok(Known::Unknown) };
    let def = &env.map(map).def;
    let (size, off) = (insn.size(), (at as i32).wrapping_add(insn.off.into()));
    let fits = off >= 0 && i64::from(off) + i64::from(size.bytes()) <= i64::from(def.value_size);
    if !is_known_contents(def) || !fits {
        return Ok(Known::Unknown);
    }
    let extends = insn.mode() == Mode::MemSx && size != Size::Dw;
    Ok(direct_read(env, map, off, size, extends).map_or(Known::Unknown, Known::Const))
}

/// Turns decided branches into jumps (`bpf_prune_dead_branches`).
pub fn prune_dead_branches(env: &mut Env<'_>) {
    let mut changed = false;
    for idx in 0..env.insns.len() {
        let Some(taken) = decided(env, idx) else { continue };
        let insn = env.insns[idx];
        let jump = RawInsn::ja(if taken { insn.off } else { 0 });
        env.insns[idx] = jump;
        env.decoded[idx] = decode(jump, None).ok();
        changed = true;
    }
    if changed {
        order::compute_postorder(env);
    }
}

fn decided(env: &Env<'_>, idx: usize) -> Option<bool> {
    let insn = env.insns[idx];
    let cond = match insn.class() {
        Class::Jmp | Class::Jmp32 => crate::transfer::branch::condition(insn.jmp_op())?,
        _ => return None,
    };
    let known = env.const_regs.get(idx)?;
    let a = u64::from(known.constant(Reg(insn.dst))?);
    let b = match insn.is_src_reg() {
        true => u64::from(known.constant(Reg(insn.src))?),
        false => insn.imm as i64 as u64,
    };
    let narrow = |v: u64| if insn.class() == Class::Jmp32 { v as i32 as i64 as u64 } else { v };
    Some(holds(cond, narrow(a), narrow(b)))
}

/// As the kernel evaluates it: 32-bit operands are sign-extended for unsigned comparisons as well.
fn holds(cond: Cond, a: u64, b: u64) -> bool {
    let (x, y) = (a as i64, b as i64);
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => x > y,
        Cond::Sge => x >= y,
        Cond::Slt => x < y,
        Cond::Sle => x <= y,
        Cond::Set => a & b != 0,
    }
}
