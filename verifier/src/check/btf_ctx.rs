//! Arguments of traced functions, hooks and struct_ops members as context (`btf_ctx_access`).

use super::ctx::CtxAccess;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// Range of the return value that an LSM program reads, None for a hook without one.
pub(super) fn lsm_retval_range(_env: &Env<'_>) -> Check<Option<(i32, i32)>> {
    Err(Stop::unsupported("return values of LSM hooks"))
}

/// None if the access is refused (after saying why).
pub(super) fn btf_ctx_access(
    _env: &mut Env<'_>,
    _off: i32,
    _size: i32,
    _promote: Option<(&str, &str)>,
) -> Check<Option<CtxAccess>> {
    Err(Stop::unsupported("arguments of traced functions"))
}
