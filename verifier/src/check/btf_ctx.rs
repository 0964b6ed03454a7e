//! Arguments of traced functions, hooks and struct_ops members as context (`btf_ctx_access`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// Range of the return value that an LSM program reads, None for a hook without one.
pub(super) fn lsm_retval_range(_env: &Env<'_>) -> Check<Option<(i32, i32)>> {
    Err(Stop::unsupported("return values of LSM hooks"))
}
