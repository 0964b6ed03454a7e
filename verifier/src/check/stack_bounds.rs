//! Whether an access lies in the stack (`check_stack_access_within_bounds`).

use bpfassay_isa::Reg;

use super::stack::{grow_stack_state, StackAccess};
use crate::domain::state::FuncState;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

fn within_bounds(env: &Env<'_>, off: i64, frame: &FuncState, access: StackAccess) -> bool {
    let uninit = env.allow_uninit_stack && env.kernel.features.reads_grow_stack;
    let anywhere = access != StackAccess::Read || uninit;
    let depth = if anywhere { env.kernel.limits.max_stack as i32 } else { frame.allocated_stack() };
    (-i64::from(depth)..0).contains(&off)
}

/// The access lies in the stack; makes room for it (`check_stack_access_within_bounds`).
/// `off` includes the register's fixed offset.
pub(super) fn check_stack_access_within_bounds(
    env: &mut Env<'_>,
    ptr: Reg,
    off: i32,
    access_size: i32,
    access: StackAccess,
) -> Check {
    let reg = *env.reg(ptr);
    let word = match access {
        StackAccess::Read => " read from",
        StackAccess::Write => " write to",
        StackAccess::Indirect => " indirect access to",
    };
    let fixed = reg.var_off.is_const();
    let (min_off, max_off) = if fixed {
        let min = (reg.var_off.value as i64).wrapping_add(off as i64);
        (min, min.wrapping_add(access_size as i64))
    } else {
        let most = i64::from(env.kernel.limits.max_var_off);
        if reg.smax >= most || reg.smin <= -most {
            verbose!(env, "invalid unbounded variable-offset{word} stack R{}\n", ptr.0);
            return Err(Errno::EACCES.into());
        }
        (reg.smin + off as i64, reg.smax + off as i64 + access_size as i64)
    };
    let frame = env.cur.frame(reg.frameno);
    let err = if !within_bounds(env, min_off, frame, access) {
        Errno::EACCES
    } else if max_off > 0 {
        Errno::EINVAL
    } else if access_size < 0 {
        Errno::EFAULT
    } else {
        if env.kernel.features.reads_grow_stack || access == StackAccess::Write {
            grow_stack_state(env, reg.frameno, -min_off as i32);
        }
        return Ok(());
    };
    if fixed {
        let off = if env.kernel.features.pointer_offset_whole { min_off } else { off.into() };
        verbose!(env, "invalid{word} stack R{} off={off} size={access_size}\n", ptr.0);
    } else {
        verbose!(
            env,
            words.variable_stack_access,
            access = word,
            reg = ptr.0,
            var_off = reg.var_off,
            off = off,
            size = access_size
        );
    }
    Err(err.into())
}
