//! Arguments of kfuncs that are memory and its size.

use bpfassay_isa::Reg;

use super::callinfo::KfuncMeta;
use super::kfunc_arg::{arg_name, is_mem_size, KfParam};
use super::kfunc_args::invalid;
use super::mem_arg::check_kfunc_mem_size_reg;
use super::stack::register_is_null;
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

/// Memory in argument `i` (from 0) and its size behind it.
pub(super) fn check_mem_size(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
) -> Check {
    let arg = arg_name(env, i);
    let (regno, size_regno) = (Reg(i as u8 + 1), Reg(i as u8 + 2));
    let first = env.kernel.features.kfunc_args_by_prototype;
    if first {
        if register_is_null(env.reg(regno)) {
            mark_chain_precision(env, regno)?;
        }
        check_const_size(env, meta, params, i)?;
    }
    // A NULL that the parameter does not allow was refused before.
    let optional =
        register_is_null(env.reg(regno)) && (params[i].has("__opt") || params[i].has("__nullable"));
    if !optional {
        if let Err(stop) = check_kfunc_mem_size_reg(env, size_regno) {
            if matches!(stop, Stop::Reject(_)) {
                let and = if env.kernel.features.args_named_by_register { " and" } else { "" };
                let size = arg_name(env, i + 1);
                verbose!(
                    env,
                    "{arg}{and} {size} memory, len pair leads to invalid memory access\n"
                );
            }
            return Err(stop);
        }
    }
    if first {
        return Ok(());
    }
    check_const_size(env, meta, params, i)
}

/// A size that must be known.
fn check_const_size(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
) -> Check {
    let size_regno = Reg(i as u8 + 2);
    let size = *env.reg(size_regno);
    if params.get(i + 1).is_some_and(|p| is_mem_size(env, p, size_regno, "__szk")) {
        if meta.arg_constant.is_some() {
            verifier_bug!(env, "only one constant argument permitted");
            return Err(Errno::EFAULT.into());
        }
        if !size.var_off.is_const() {
            verbose!(env, "R{} must be a known constant\n", size_regno.0);
            return invalid();
        }
        if env.kernel.features.kfunc_args_by_prototype {
            mark_chain_precision(env, size_regno)?;
        }
        meta.arg_constant = Some(size.var_off.value);
    }
    Ok(())
}
