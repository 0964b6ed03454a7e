//! Function and line info of the program (`check_btf_info_early`, `check_btf_info`).
//!
//! Record sizes and trailing bytes are the loader's business; relocations have been applied by it.

use bpfassay_object::btf::{linkage, BtfKind};

use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::subprogs::check_abnormal_return;
use crate::verbose;

pub use super::func_args::btf_prepare_func_args;

fn has_info(env: &Env<'_>) -> bool {
    !env.prog.func_info.is_empty() || !env.prog.line_info.is_empty()
}

/// Function records before subprograms are known: order and types (`check_btf_func_early`).
pub fn check_btf_info_early(env: &mut Env<'_>) -> Check {
    if !has_info(env) {
        return Ok(());
    }
    let prog = env.prog;
    let Some(btf) = prog.btf.as_ref() else { return Err(Errno::EINVAL.into()) };
    let mut prev = 0;
    for (i, info) in prog.func_info.iter().enumerate() {
        if i == 0 && info.insn_off != 0 {
            verbose!(env, "nonzero insn_off {} for the first func info record", info.insn_off);
            return Err(Errno::EINVAL.into());
        }
        if i > 0 && info.insn_off <= prev {
            verbose!(
                env,
                "same or smaller insn offset ({}) than previous func info record ({prev})",
                info.insn_off
            );
            return Err(Errno::EINVAL.into());
        }
        if btf.kind(info.type_id) != Some(BtfKind::Func) {
            verbose!(env, "invalid type id {} in func info", info.type_id as i32);
            return Err(Errno::EINVAL.into());
        }
        if btf.func_proto(info.type_id).is_none() {
            return Err(Errno::EINVAL.into());
        }
        prev = info.insn_off;
    }
    Ok(())
}

/// Function and line records against the subprograms found.
pub fn check_btf_info(env: &mut Env<'_>) -> Check {
    if !has_info(env) {
        return check_abnormal_return(env);
    }
    check_btf_func(env)?;
    check_btf_line(env)
}

fn check_btf_func(env: &mut Env<'_>) -> Check {
    let prog = env.prog;
    if prog.func_info.is_empty() {
        return check_abnormal_return(env);
    }
    if prog.func_info.len() != env.subprogs.len() {
        verbose!(env, "number of funcs in func_info doesn't match number of subprogs\n");
        return Err(Errno::EINVAL.into());
    }
    let Some(btf) = prog.btf.as_ref() else { return Err(Errno::EINVAL.into()) };
    for (i, info) in prog.func_info.iter().enumerate() {
        let sub = &env.subprogs[i];
        if sub.start != info.insn_off {
            verbose!(env, "func_info BTF section doesn't match subprog layout in BPF program\n");
            return Err(Errno::EINVAL.into());
        }
        let ret =
            btf.func_proto(info.type_id).and_then(|p| btf.skip_mods_and_typedefs(p.type_id()));
        let scalar = ret
            .is_some_and(|t| t.kind() == BtfKind::Int && t.size() <= 8 || t.kind().is_any_enum());
        if i > 0 && !scalar && sub.has_ld_abs {
            verbose!(env, "LD_ABS is only allowed in functions that return 'int'.\n");
            return Err(Errno::EINVAL.into());
        }
        if i > 0 && !scalar && sub.has_tail_call {
            verbose!(env, "tail_call is only allowed in functions that return 'int'.\n");
            return Err(Errno::EINVAL.into());
        }
        env.subprogs[i].is_named = true;
    }
    for (i, info) in prog.func_info.iter().enumerate() {
        env.subprogs[i].is_global =
            btf.ty(info.type_id).is_some_and(|t| t.linkage() == linkage::GLOBAL);
    }
    Ok(())
}

fn check_btf_line(env: &mut Env<'_>) -> Check {
    let prog = env.prog;
    if prog.line_info.is_empty() {
        return Ok(());
    }
    let Some(btf) = prog.btf.as_ref() else { return Err(Errno::EINVAL.into()) };
    let (len, count) = (env.insns.len() as u32, env.subprogs.len());
    let (mut prev, mut s) = (0, 0);
    for (i, line) in prog.line_info.iter().enumerate() {
        let off = line.insn_off;
        if (i > 0 && off <= prev) || off >= len {
            verbose!(
                env,
                "Invalid line_info[{i}].insn_off:{off} (prev_offset:{prev} prog->len:{len})\n"
            );
            return Err(Errno::EINVAL.into());
        }
        if env.insns[off as usize].code == 0 {
            verbose!(env, "Invalid insn code at line_info[{i}].insn_off\n");
            return Err(Errno::EINVAL.into());
        }
        if !btf.has_str(line.line_off) || !btf.has_str(line.file_name_off) {
            verbose!(env, "Invalid line_info[{i}].line_off or .file_name_off\n");
            return Err(Errno::EINVAL.into());
        }
        if let Some(sub) = env.subprogs.get_mut(s) {
            if off == sub.start {
                sub.linfo_idx = i as u32;
                s += 1;
            } else if sub.start < off {
                verbose!(env, "missing bpf_line_info for func#{s}\n");
                return Err(Errno::EINVAL.into());
            }
        }
        prev = off;
    }
    if s != count {
        verbose!(env, "missing bpf_line_info for {} funcs starting from func#{s}\n", count - s);
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}
