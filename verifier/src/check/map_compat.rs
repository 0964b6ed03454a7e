//! Which helper may be called with which map (`check_map_func_compatibility`).

use bpfassay_spec::{func, MapType};

use super::summary::with_prog_kind;
use crate::domain::reg::MapId;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Both views must agree: the map's, then the helper's.
pub fn check_map_func_compatibility(env: &mut Env<'_>, map: Option<MapId>, func_id: i32) -> Check {
    let Some(map) = map else { return Ok(()) };
    let map_type = env.map(map).def.map_type;
    let fits = env.kernel.helper_takes_map(func_id, map_type)
        || may_update_sockmap(env, map_type, func_id);
    if !fits {
        let name = env.kernel.helper_name(func_id);
        verbose!(env, "cannot pass map_type {} into func {name}#{func_id}\n", map_type.number());
        return Err(Errno::EINVAL.into());
    }
    if func_id == func::TAIL_CALL && env.subprogs.len() > 1 && !allow_tail_call_in_subprogs(env) {
        verbose!(env, "mixing of tail_calls and bpf-to-bpf calls is not supported\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// A program with tail calls and BPF-to-BPF calls needs a JIT that knows how.
pub fn allow_tail_call_in_subprogs(env: &Env<'_>) -> bool {
    env.kernel.jit.enabled && env.kernel.jit.subprog_tailcalls
}

/// Contexts in which no locked socket can be at hand may update maps of sockets.
fn may_update_sockmap(env: &mut Env<'_>, map_type: MapType, func_id: i32) -> bool {
    let deletes = func_id == func::MAP_DELETE_ELEM;
    let is_generic = func_id == func::MAP_UPDATE_ELEM || deletes;
    if !is_generic || !env.kernel.map_use(map_type).is_some_and(|row| row.sockets) {
        return false;
    }
    let may = with_prog_kind(env, |kind| env.kernel.may_update_sockmap(kind, deletes));
    if !may {
        verbose!(env, "cannot update sockmap in this context\n");
    }
    may
}
