//! Spills and fills around bpf_fastcall calls (`mark_fastcall_patterns`,
//! `remove_fastcall_spills_fills`).

use bpfassay_isa::{Insn, Operand, Reg, Size};

use crate::cfg::live_regs::CALLER_SAVED;
use crate::check::summary::get_call_summary;
use crate::env::Env;
use crate::subprogs::subprog_end;

/// A full-width spill to or fill from the frame: register and offset.
fn spill_at(env: &Env<'_>, idx: u32) -> Option<(Reg, i16)> {
    match env.insn(idx)? {
        Insn::Store { size: Size::Dw, dst: Reg::R10, off, src: Operand::Reg(src) } => {
            Some((src, off))
        }
        _ => None,
    }
}

fn fill_at(env: &Env<'_>, idx: u32) -> Option<(Reg, i16)> {
    match env.insn(idx)? {
        Insn::Load { size: Size::Dw, sign_extend: false, dst, src: Reg::R10, off } => {
            Some((dst, off))
        }
        _ => None,
    }
}

/// Marks the patterns of every subprogram, whose slots are the lowest it spills to.
pub fn mark_fastcall_patterns(env: &mut Env<'_>) {
    for s in 0..env.subprogs.len() as u32 {
        let (start, end) = (env.subprogs[s as usize].start, subprog_end(env, s));
        let lowest = (start..end)
            .filter_map(|i| spill_at(env, i))
            .map(|(_, off)| off)
            .min()
            .unwrap_or(0)
            .min(0);
        for i in start..end {
            if env.insns[i as usize].is_call() {
                mark_pattern_for_call(env, s, i, lowest);
            }
        }
    }
}

/// Pairs of spill and fill of one register, outwards from the call at `idx`, at ascending offsets.
fn mark_pattern_for_call(env: &mut Env<'_>, subprog: u32, idx: u32, lowest: i16) {
    let Some(cs) = get_call_summary(env, idx) else { return };
    let clobbered = ((1u32 << (cs.num_params + 1)) - 1) as u16 & if cs.is_void { !1 } else { !0 };
    let mut expected = !clobbered & CALLER_SAVED;
    let mut off = lowest;
    let mut pairs = 0u8;
    for i in 1..=6u32 {
        if idx < i || (idx + i) as usize >= env.insns.len() {
            break;
        }
        let (Some((spilled, spill_off)), Some((filled, fill_off))) =
            (spill_at(env, idx - i), fill_at(env, idx + i))
        else {
            break;
        };
        let bit = 1u16 << spilled.0;
        if spilled != filled || expected & bit == 0 || spill_off != off || fill_off != off {
            break;
        }
        expected &= !bit;
        env.aux_mut(idx - i).fastcall_pattern = true;
        env.aux_mut(idx + i).fastcall_pattern = true;
        pairs += 1;
        off = off.wrapping_add(8);
    }
    if pairs == 0 {
        return;
    }
    if cs.fastcall {
        env.aux_mut(idx).fastcall_spills_num = pairs;
    } else {
        env.subprogs[subprog as usize].keep_fastcall_stack = true;
    }
    let sub = &mut env.subprogs[subprog as usize];
    sub.fastcall_stack_off = sub.fastcall_stack_off.min(off);
}

/// Stack depths shrink where every pattern of a subprogram can go (the rewrite itself is not ours).
pub fn remove_fastcall_spills_fills(env: &mut Env<'_>) {
    for s in 0..env.subprogs.len() as u32 {
        let (start, end) = (env.subprogs[s as usize].start, subprog_end(env, s));
        let modified = (start..end).any(|i| env.aux(i).fastcall_spills_num > 0);
        let sub = &mut env.subprogs[s as usize];
        if modified && !sub.keep_fastcall_stack {
            sub.stack_depth = sub.fastcall_stack_off.unsigned_abs();
        }
    }
}
