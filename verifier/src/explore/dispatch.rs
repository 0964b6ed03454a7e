//! One instruction to the room that checks its family (`do_check_insn`).
//!
//! Reserved fields are looked at here, at the moment the kernel looks at them, on the raw
//! instruction; the rooms get what has passed.

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use bpfassay_isa::{RawInsn, Reg};
use bpfassay_spec::func;

use crate::check::refs::Leaving;
use crate::check::{atomic, call, exit, func_call, indirect_jump, mem, refs, summary};
use crate::diagnostics::{self, Context};
use crate::env::Env;
use crate::explore::worklist::push_stack;
use crate::insn_fields::GOTOX_RESERVED;
use crate::stop::{Check, Errno};
use crate::transfer::{alu, branch, ld_imm};
use crate::verbose;

/// How a path goes on after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `env.insn_idx` is the next instruction.
    Next,
    /// `PROCESS_BPF_EXIT`.
    PathDone,
}

/// Checks the instruction at `env.insn_idx` and moves on.
pub fn check_insn(env: &mut Env<'_>, print_state: &mut bool) -> Check<Step> {
    let insn = env.insns[env.insn_idx as usize];
    match insn.class() {
        Class::Alu | Class::Alu64 => alu::check_alu_op(env)?,
        // Reserved fields of LDX were looked at when LD_IMM64 was resolved.
        Class::Ldx => mem::check_load_mem(env)?,
        Class::Stx => check_stx(env, insn)?,
        Class::St => {
            if insn.mode() != Mode::Mem || insn.src != 0 {
                return Err(reserved(env, "BPF_ST"));
            }
            mem::check_store(env)?;
        }
        Class::Jmp | Class::Jmp32 => return check_jump(env, insn, print_state),
        Class::Ld => match insn.mode() {
            Mode::Abs | Mode::Ind => mem::check_ld_abs(env)?,
            Mode::Imm => {
                ld_imm::check_ld_imm(env)?;
                env.insn_idx += 1;
                let (pass, speculative) = (env.pass_cnt, env.cur.speculative);
                if let Some(aux) = env.aux.get_mut(env.insn_idx as usize).filter(|_| !speculative) {
                    aux.seen = pass;
                }
            }
            _ => {
                verbose!(env, "invalid BPF_LD mode\n");
                return Err(Errno::EINVAL.into());
            }
        },
    }
    env.insn_idx += 1;
    Ok(Step::Next)
}

fn reserved(env: &mut Env<'_>, what: &str) -> crate::stop::Stop {
    verbose!(env, "{} uses reserved fields\n", what);
    Errno::EINVAL.into()
}

fn check_stx(env: &mut Env<'_>, insn: RawInsn) -> Check {
    if insn.mode() == Mode::Atomic {
        return atomic::check_atomic(env);
    }
    if insn.mode() != Mode::Mem || insn.imm != 0 {
        return Err(reserved(env, "BPF_STX"));
    }
    mem::check_store(env)
}

fn check_jump(env: &mut Env<'_>, insn: RawInsn, print_state: &mut bool) -> Check<Step> {
    env.jmps_processed += 1;
    match insn.jmp_op() {
        JmpCode::Call => return check_call(env, insn, print_state),
        JmpCode::Ja if insn.is_gotox() => {
            if insn.src != 0 || insn.imm != 0 || insn.off != 0 {
                verbose!(env, "{GOTOX_RESERVED}\n");
                return Err(Errno::EINVAL.into());
            }
            indirect_jump::check_indirect_jump(env)?;
        }
        JmpCode::Ja => {
            let is_long = insn.class() == Class::Jmp32;
            let unused = if is_long { i32::from(insn.off) } else { insn.imm };
            if insn.is_src_reg() || insn.src != 0 || insn.dst != 0 || unused != 0 {
                return Err(reserved(env, "BPF_JA"));
            }
            let off = if is_long { insn.imm } else { i32::from(insn.off) };
            env.insn_idx = env.insn_idx.wrapping_add_signed(off).wrapping_add(1);
        }
        JmpCode::Exit => {
            let extra = insn.imm != 0 || insn.src != 0 || insn.dst != 0;
            if insn.is_src_reg() || extra || insn.class() == Class::Jmp32 {
                return Err(reserved(env, "BPF_EXIT"));
            }
            return process_exit(env, print_state, false);
        }
        _ => branch::check_cond_jmp_op(env)?,
    }
    Ok(Step::Next)
}

fn check_call(env: &mut Env<'_>, insn: RawInsn, print_state: &mut bool) -> Check<Step> {
    let is_kfunc = insn.src == PSEUDO_KFUNC_CALL && env.kernel.features.kernel_functions;
    let known_source = insn.src == 0 || insn.src == PSEUDO_CALL || is_kfunc;
    if insn.is_src_reg()
        || (!is_kfunc && insn.off != 0)
        || !known_source
        || insn.dst != 0
        || insn.class() == Class::Jmp32
    {
        return Err(reserved(env, "BPF_CALL"));
    }
    if env.cur.active_locks > 0 {
        let forbidden = match insn.src {
            0 => {
                insn.imm != func::SPIN_UNLOCK
                    && !env.kernel.helper_traits(insn.imm).allowed_under_lock
            }
            PSEUDO_KFUNC_CALL => !summary::may_call_under_lock(env, insn),
            _ => !env.kernel.features.static_calls_under_lock,
        };
        if forbidden {
            verbose!(env, "function calls are not allowed while holding a lock\n");
            let at = env.insn_idx;
            let instead = "Release the BPF spin lock before making this call, or move the call outside the locked region.";
            diagnostics::report_inside(env, at, "function call", Context::Lock, instead);
            return Err(Errno::EINVAL.into());
        }
    }
    let idx = env.insn_idx;
    let throws = env.kernel.features.globals_may_throw && func_call::global_may_throw(env, idx);
    call::check_call(env)?;
    if throws {
        push_stack(env, idx + 1, idx, false)?;
        return process_exit(env, print_state, true);
    }
    if is_kfunc && summary::is_bpf_throw_kfunc(env, idx) {
        return process_exit(env, print_state, true);
    }
    env.mark_reg_scratched(Reg::R0);
    env.insn_idx = env.insn_idx.wrapping_add(1);
    Ok(Step::Next)
}

/// BPF_EXIT or `bpf_throw` (`process_bpf_exit_full`).
fn process_exit(env: &mut Env<'_>, print_state: &mut bool, exception: bool) -> Check<Step> {
    let outermost = env.cur.curframe() == 0;
    let features = &env.kernel.features;
    let is_throw = exception && (features.throw_checks_regions || !features.references_of_state);
    let leaving = if is_throw { Leaving::Throw } else { Leaving::Exit };
    refs::check_resource_leak(
        env,
        exception,
        is_throw || outermost || !features.static_calls_under_lock,
        leaving,
    )?;
    if exception {
        return Ok(Step::PathDone);
    }
    if !outermost {
        call::prepare_func_exit(env)?;
        *print_state = true;
        return Ok(Step::Next);
    }
    exit::check_return_code(env, Reg::R0, "R0")?;
    Ok(Step::PathDone)
}
