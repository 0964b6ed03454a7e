//! Sockets and flow keys (`check_sock_access`, `check_flow_keys_access`).

use bpfassay_isa::{Reg, Size};

use super::region::reject_negative_min;
use super::Access;
use crate::env::Env;
use crate::log::names::RegTypeName;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Bytes of `struct bpf_flow_keys`.
const FLOW_KEYS_SIZE: u64 = 56;

/// `check_flow_keys_access`
pub(super) fn check_flow_keys_access(env: &mut Env<'_>, off: i32, size: i32) -> Check {
    if size < 0 || off < 0 || off as u64 + size as u64 > FLOW_KEYS_SIZE {
        verbose!(env, "invalid access to flow keys off={off} size={size}\n");
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Load from a socket pointer; `off` includes the register's fixed offset (`check_sock_access`).
pub(super) fn check_sock_access(
    env: &mut Env<'_>,
    insn_idx: u32,
    r: Reg,
    off: i32,
    size: Size,
    access: Access,
) -> Check {
    let reg = *env.reg(r);
    if reg.smin < 0 {
        return reject_negative_min(env, r);
    }
    let bytes = size.bytes() as i32;
    if let Some(field_size) = sock_field(env, &reg, off, bytes, access)? {
        env.aux_mut(insn_idx).ctx_field_size = field_size;
        return Ok(());
    }
    verbose!(
        env,
        "R{} invalid {} access off={off} size={bytes}\n",
        r.0,
        RegTypeName(reg.ty)
    );
    Err(Errno::EACCES.into())
}

/// Size of the whole field behind an allowed access (0 where it is not converted), None if refused.
fn sock_field(
    env: &mut Env<'_>,
    reg: &crate::domain::reg::RegState,
    off: i32,
    size: i32,
    access: Access,
) -> Check<Option<u32>> {
    let _ = (env, reg, off, size, access);
    Err(Stop::unsupported("socket access"))
}
