//! 16-byte immediate loads (`check_ld_imm`): constants, maps, map values, kernel variables, callbacks.

use bpfassay_isa::{opcode, RawInsn, Reg, Size};
use bpfassay_spec::{MapType, RegBase, RegType};

use super::mark::mark_reg_known_zero;
use crate::check::btf_record::{BtfRecord, FieldKinds};
use crate::check::reg_arg::{check_reg_arg, RegArg};
use crate::diagnostics;
use crate::env::{AuxUse, Env};
use crate::stop::{Check, Errno};
use crate::subprogs::find_subprog;
use crate::verbose;

/// The LD_IMM64 at `env.insn_idx`.
pub fn check_ld_imm(env: &mut Env<'_>) -> Check {
    let idx = env.insn_idx as usize;
    let raw = env.insns.get(idx).copied().unwrap_or_default();
    let second = env.insns.get(idx + 1).copied().unwrap_or_default();
    if raw.size() != Size::Dw {
        verbose!(env, "invalid BPF_LD_IMM insn\n");
        return Err(Errno::EINVAL.into());
    }
    if raw.off != 0 {
        verbose!(env, "BPF_LD_IMM64 uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    let dst = Reg(raw.dst);
    check_reg_arg(env, dst, RegArg::Dst)?;
    diagnostics::begin_reg(env, dst);
    if raw.src == 0 {
        env.reg_mut(dst).mark_known(raw.imm64(second));
        diagnostics::end(env);
        return Ok(());
    }
    mark_reg_known_zero(env, dst);
    let loaded = match raw.src {
        opcode::PSEUDO_BTF_ID => load_btf_var(env, dst),
        opcode::PSEUDO_FUNC => load_func(env, raw, dst),
        opcode::PSEUDO_MAP_VALUE | opcode::PSEUDO_MAP_IDX_VALUE => load_map(env, dst, true),
        opcode::PSEUDO_MAP_FD | opcode::PSEUDO_MAP_IDX => load_map(env, dst, false),
        _ => {
            verbose!(env, "verifier bug: unexpected src reg value for ldimm64\n");
            Err(Errno::EFAULT.into())
        }
    };
    loaded?;
    diagnostics::end(env);
    Ok(())
}

fn load_btf_var(env: &mut Env<'_>, dst: Reg) -> Check {
    let used = env.aux(env.insn_idx).used;
    let AuxUse::BtfVar { ty, btf, btf_id, mem_size } = used else {
        verbose!(env, "verifier bug: pseudo btf id: unexpected dst reg type\n");
        return Err(Errno::EFAULT.into());
    };
    let reg = env.reg_mut(dst);
    reg.ty = ty;
    match ty.base() {
        RegBase::Mem => reg.set_mem_size(mem_size),
        RegBase::BtfId => reg.set_btf(btf, btf_id),
        _ => {
            verbose!(env, "verifier bug: pseudo btf id: unexpected dst reg type\n");
            return Err(Errno::EFAULT.into());
        }
    }
    Ok(())
}

/// The address of a static subprogram, for a callback.
fn load_func(env: &mut Env<'_>, raw: RawInsn, dst: Reg) -> Check {
    if env.prog.func_info.is_empty() {
        verbose!(env, "missing btf func_info\n");
        return Err(Errno::EINVAL.into());
    }
    let start = env.insn_idx as i64 + raw.imm as i64 + 1;
    let Some(subprog) = find_subprog(env, start) else {
        verbose!(env, "verifier bug: no subprog at insn {start}\n");
        return Err(Errno::EFAULT.into());
    };
    if env.subprogs.get(subprog as usize).is_some_and(|s| s.is_global) {
        verbose!(env, "callback function not static\n");
        return Err(Errno::EINVAL.into());
    }
    if subprog == 0 && env.kernel.features.insn_fields_first {
        verbose!(env, "callback function cannot be the main program\n");
        return Err(Errno::EINVAL.into());
    }
    let reg = env.reg_mut(dst);
    reg.ty = RegType::of(RegBase::Func);
    reg.set_subprogno(subprog);
    Ok(())
}

/// A map, or the address of a value of a map with one element.
fn load_map(env: &mut Env<'_>, dst: Reg, value: bool) -> Check {
    let AuxUse::Map { map, off } = env.aux(env.insn_idx).used else {
        verbose!(env, "verifier bug: unexpected src reg value for ldimm64\n");
        return Err(Errno::EFAULT.into());
    };
    let is_arena = env.map(map).def.map_type == MapType::Arena;
    let bpf_capable = env.bpf_capable;
    let whole = env.kernel.features.pointer_offset_whole;
    let reg = env.reg_mut(dst);
    reg.set_map(map);
    if !value {
        reg.ty = RegType::of(RegBase::ConstMapPtr);
    } else if is_arena {
        reg.mark_unknown(bpf_capable);
    } else {
        reg.ty = RegType::of(RegBase::MapValue);
        if whole {
            reg.mark_known(u64::from(off));
            reg.set_map(map);
        } else {
            reg.off = off as i32;
        }
        let record = env.map(map).record.as_deref();
        let locks = record.is_some_and(|r: &BtfRecord| r.has(FieldKinds::SPIN_LOCK));
        if locks && !env.kernel.features.direct_values_unnumbered {
            let id = env.new_id();
            env.reg_mut(dst).id = id;
        }
    }
    Ok(())
}
