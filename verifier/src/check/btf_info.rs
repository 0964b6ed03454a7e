//! Function and line info of the program (`check_btf_info_early`, `check_btf_info`) and the
//! arguments BTF gives to subprograms (`btf_prepare_func_args`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// `check_btf_func_early`: record sizes, order, types.
pub fn check_btf_info_early(_env: &mut Env<'_>) -> Check {
    Ok(())
}

/// `check_btf_func`, `check_btf_line`, `check_core_relo`.
pub fn check_btf_info(env: &mut Env<'_>) -> Check {
    if env.prog.func_info.is_empty() && env.prog.line_info.is_empty() {
        return crate::subprogs::check_abnormal_return(env);
    }
    Ok(())
}

/// Fills `subprogs[subprog].args` from BTF, once.
pub fn btf_prepare_func_args(_env: &mut Env<'_>, _subprog: u32) -> Check {
    Err(Stop::unsupported("arguments of global functions"))
}
