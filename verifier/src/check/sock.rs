//! Sockets and flow keys (`check_sock_access`, `check_flow_keys_access`).

use bpfassay_isa::{Reg, Size};
use bpfassay_spec::ctx::CtxAccess;

use super::region::reject_negative_min;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Bytes of `struct bpf_flow_keys`.
const FLOW_KEYS_SIZE: u64 = 56;

/// `check_flow_keys_access`
pub(super) fn check_flow_keys_access(env: &mut Env<'_>, r: Reg, off: i32, size: i32) -> Check {
    let mut off = off;
    if env.kernel.features.pointer_offset_whole {
        let reg = *env.reg(r);
        if !reg.var_off.is_const() {
            verbose!(
                env,
                "R{} invalid variable offset to flow keys: off={off}, var_off={}\n",
                r.0,
                reg.var_off
            );
            return Err(Errno::EACCES.into());
        }
        off = off.wrapping_add(reg.var_off.value as i32);
    }
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
) -> Check {
    let reg = *env.reg(r);
    if reg.smin < 0 {
        return reject_negative_min(env, r);
    }
    let bytes = size.bytes() as i32;
    let mut info = CtxAccess::new(false);
    // Sockets are read only: the caller has refused stores.
    let plain = reg.flags().is_empty();
    if plain && env.kernel.sock_access(reg.base(), off, bytes as u32, &mut info) {
        env.aux_mut(insn_idx).ctx_field_size = info.ctx_field_size;
        return Ok(());
    }
    verbose!(env, "R{} invalid {} access off={off} size={bytes}\n", r.0, env.type_name(reg.ty));
    Err(Errno::EACCES.into())
}
