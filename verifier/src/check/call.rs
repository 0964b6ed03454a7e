//! Calls: to the room that checks the callee's kind (`check_helper_call`, `check_kfunc_call`, `check_func_call`).

use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use bpfassay_isa::RawInsn;

use super::func_call::check_func_call;
use super::helper::check_helper_call;
use super::kfunc_call::check_kfunc_call;
use crate::env::Env;
use crate::stop::{Check, Stop};

pub use super::func_call::prepare_func_exit;

/// The call at `env.insn_idx`; a static call leaves the callee's entry minus one in `env.insn_idx`.
pub fn check_call(env: &mut Env<'_>) -> Check {
    let Some(insn) = env.insns.get(env.insn_idx as usize).copied() else {
        return Err(Stop::unsupported("call outside the program"));
    };
    match insn.src {
        PSEUDO_CALL => check_func_call(env, env.insn_idx as i64 + insn.imm as i64 + 1),
        PSEUDO_KFUNC_CALL => kfunc_call(env, insn),
        _ => check_helper_call(env, insn.imm),
    }
}

/// Where the log does not show what the call did to registers, they count as untouched.
fn kfunc_call(env: &mut Env<'_>, insn: RawInsn) -> Check {
    let scratched = env.scratched_regs;
    check_kfunc_call(env, insn)?;
    if !env.kernel.features.kfunc_calls_shown {
        env.scratched_regs = scratched;
    }
    Ok(())
}
