//! Function and line info of the program (`check_btf_info_early`, `check_btf_info`).

use crate::env::Env;
use crate::stop::Check;

pub use super::func_args::btf_prepare_func_args;

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
