//! Subprograms: where they start, and that control stays inside them
//! (`add_subprog_and_kfunc`, `check_subprogs`).

use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_object::btf::{linkage, BtfKind};
use bpfassay_spec::func;

use crate::cfg::jump_target;
use crate::check::summary::add_kfunc_call;
use crate::diagnostics::{self, words, About, Values};
use crate::env::{Env, SubprogInfo};
use crate::stop::{Check, Errno};
use crate::{trace, verbose};

/// Subprogram that contains slot `off` (`bpf_find_containing_subprog`); 0 when there is none.
pub fn find_containing_subprog(env: &Env<'_>, off: u32) -> u32 {
    (env.subprogs.partition_point(|s| s.start <= off) as u32).saturating_sub(1)
}

/// Subprogram that starts exactly at `off` (`find_subprog`).
pub fn find_subprog(env: &Env<'_>, off: i64) -> Option<u32> {
    let off = u32::try_from(off).ok()?;
    env.subprogs.binary_search_by_key(&off, |s| s.start).ok().map(|i| i as u32)
}

/// One past the last slot of a subprogram.
pub fn subprog_end(env: &Env<'_>, subprog: u32) -> u32 {
    env.subprogs.get(subprog as usize + 1).map_or(env.insns.len() as u32, |s| s.start)
}

fn add_subprog(env: &mut Env<'_>, off: i64) -> Check {
    if off < 0 || off >= env.insns.len() as i64 {
        verbose!(env, "call to invalid destination\n");
        return Err(Errno::EINVAL.into());
    }
    if find_subprog(env, off).is_some() {
        return Ok(());
    }
    if env.subprogs.len() >= env.kernel.limits.max_subprogs as usize {
        verbose!(env, "too many subprograms\n");
        return Err(Errno::E2BIG.into());
    }
    let at = env.subprogs.partition_point(|s| i64::from(s.start) <= off);
    env.subprogs.insert(at, SubprogInfo { start: off as u32, ..SubprogInfo::default() });
    Ok(())
}

/// Finds every subprogram and kernel function that is called or whose address is taken.
pub fn add_subprog_and_kfunc(env: &mut Env<'_>) -> Check {
    add_subprog(env, 0)?;
    for i in 0..env.insns.len() {
        let insn = env.insns[i];
        let by_address = insn.is_pseudo_func() && env.kernel.features.function_pointers;
        let is_local = by_address || insn.is_pseudo_call();
        let is_kfunc = insn.is_kfunc_call() && env.kernel.features.kernel_functions;
        if !is_local && !is_kfunc {
            continue;
        }
        if !env.bpf_capable {
            verbose!(
                env,
                "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN\n"
            );
            refuse_functions(env, i as u32);
            return Err(Errno::EPERM.into());
        }
        if is_local {
            add_subprog(env, i as i64 + i64::from(insn.imm) + 1)?;
        } else {
            add_kfunc_call(env, insn.imm, insn.off)?;
        }
    }
    if env.kernel.features.exception_callbacks {
        add_exception_callback(env)?;
    }
    if env.log.level.is_level2() {
        for i in 0..env.subprogs.len() {
            trace!(env, "func#{} @{}\n", i, env.subprogs[i].start);
        }
    }
    Ok(())
}

/// Reports that the program may have no functions.
fn refuse_functions(env: &mut Env<'_>, at: u32) {
    const WHY: &str = "loading or calling other BPF functions requires CAP_BPF or CAP_SYS_ADMIN";
    let insn = env.insns[at as usize];
    let (operation, why, instead) = if insn.is_kfunc_call() {
        (
            "kernel function call",
            "calling kernel functions requires CAP_BPF or CAP_SYS_ADMIN",
            "Load this program with the required capability, or avoid kernel function calls in unprivileged programs.",
        )
    } else if insn.is_pseudo_func() {
        (
            "BPF function reference",
            WHY,
            "Load this program with the required capability, or avoid BPF function references in unprivileged programs.",
        )
    } else {
        (
            "BPF-to-BPF function call",
            WHY,
            "Load this program with the required capability, or avoid BPF-to-BPF function calls in unprivileged programs.",
        )
    };
    diagnostics::report_policy(env, at, operation, (why, instead));
}

fn add_exception_callback(env: &mut Env<'_>) -> Check {
    let Some(start) = find_exception_callback(env)? else { return Ok(()) };
    add_subprog(env, i64::from(start))?;
    if let Some(i) = find_subprog(env, i64::from(start)).filter(|i| *i > 0) {
        env.exception_callback_subprog = Some(i);
        let sub = &mut env.subprogs[i as usize];
        sub.is_cb = true;
        sub.is_async_cb = true;
        sub.is_exception_cb = true;
    }
    Ok(())
}

/// First slot of the function that the main program names by an `exception_callback:` tag
/// (`bpf_find_exception_callback_insn_off`).
fn find_exception_callback(env: &mut Env<'_>) -> Check<Option<u32>> {
    const TAG: &str = "exception_callback:";
    let prog = env.prog;
    let (Some(first), Some(btf)) = (prog.func_info.first(), prog.btf.as_ref()) else {
        return Ok(None);
    };
    if btf.ty(first.type_id).is_none() {
        verbose!(env, "invalid btf id for main subprog in func_info\n");
        return Err(Errno::EINVAL.into());
    }
    let mut tags = btf.decl_tags(first.type_id, -1).filter_map(|t| t.strip_prefix(TAG));
    let Some(name) = tags.next() else { return Ok(None) };
    if tags.next().is_some() {
        verbose!(env, "multiple exception callback tags for main subprog\n");
        return Err(Errno::EEXIST.into());
    }
    let Some(id) = btf.find_by_name_kind(name, BtfKind::Func) else {
        verbose!(env, "exception callback '{}' could not be found in BTF\n", name);
        return Err(Errno::ENOENT.into());
    };
    if btf.ty(id).map(|t| t.linkage()) != Some(linkage::GLOBAL) {
        verbose!(env, "exception callback '{}' must have global linkage\n", name);
        return Err(Errno::EINVAL.into());
    }
    let mut start = 0;
    for info in prog.func_info.iter().filter(|f| f.type_id == id) {
        start = info.insn_off;
        if start == 0 {
            verbose!(env, "invalid exception callback insn_off in func_info: 0\n");
            return Err(Errno::EINVAL.into());
        }
    }
    if start == 0 {
        verbose!(env, "exception callback type id not found in func_info\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(Some(start))
}

/// Jumps stay inside their subprogram, and none falls off its end (`check_subprogs`).
pub fn check_subprogs(env: &mut Env<'_>) -> Check {
    for s in 0..env.subprogs.len() as u32 {
        let (start, end) = (env.subprogs[s as usize].start, subprog_end(env, s));
        for i in start..end {
            note_special(env, s, i);
            check_jump_range(env, i, s, (start, end))?;
            let insn = env.insns[i as usize];
            let leaves = insn.is_exit() || insn.is_ja() || insn.is_gotol() || is_gotox(env, i);
            if i == end - 1 && !leaves {
                verbose!(env, "last insn is not an exit or jmp\n");
                let values: Values<'_> = &[("subprog", &s), ("insn", &i)];
                diagnostics::report(env, i, &words::FALLS_THROUGH, About::Nothing, values);
                return Err(Errno::EINVAL.into());
            }
        }
    }
    Ok(())
}

fn note_special(env: &mut Env<'_>, s: u32, i: u32) {
    let insn = env.insns[i as usize];
    let sub = &mut env.subprogs[s as usize];
    if insn.is_helper_call() && insn.imm == func::TAIL_CALL {
        sub.has_tail_call = true;
        sub.tail_call_reachable = true;
    }
    if insn.is_load_packet() {
        sub.has_ld_abs = true;
    }
}

/// The distance of an indirect jump stands in tables.
fn is_gotox(env: &Env<'_>, i: u32) -> bool {
    env.kernel.features.indirect_jump_ends_function && env.insns[i as usize].is_gotox()
}

fn check_jump_range(env: &mut Env<'_>, i: u32, s: u32, (start, end): (u32, u32)) -> Check {
    let insn = env.insns[i as usize];
    if !matches!(insn.class(), Class::Jmp | Class::Jmp32)
        || matches!(insn.jmp_op(), JmpCode::Exit | JmpCode::Call)
        || is_gotox(env, i)
    {
        return Ok(());
    }
    let target = jump_target(insn, i);
    if target < i64::from(start) || target >= i64::from(end) {
        // The kernel counts in 32 bits, which may wrap.
        verbose!(env, "jump out of range from insn {} to {}\n", i, target as i32);
        let (to, last) = (target as i32, end - 1);
        let values: Values<'_> =
            &[("from", &i), ("to", &to), ("subprog", &s), ("first", &start), ("last", &last)];
        diagnostics::report(env, i, &words::JUMP_LEAVES_SUBPROG, About::Nothing, values);
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// What subprograms may not do when no BTF describes them (`check_abnormal_return`).
pub fn check_abnormal_return(env: &mut Env<'_>) -> Check {
    for i in 1..env.subprogs.len() {
        if env.subprogs[i].has_ld_abs {
            verbose!(env, "LD_ABS is not allowed in subprogs without BTF\n");
            return Err(Errno::EINVAL.into());
        }
        if env.subprogs[i].has_tail_call {
            verbose!(env, "tail_call is not allowed in subprogs without BTF\n");
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(())
}
