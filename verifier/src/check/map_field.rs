//! Timers, work queues and task work in map values (`check_map_field_pointer`, `process_timer_func`).

use bpfassay_isa::Reg;

use super::btf_record::FieldKinds;
use super::callinfo::CallMeta;
use super::locks::map_has_btf;
use crate::domain::reg::MapId;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::{verbose, verifier_bug};

/// The register points at the map value's field of this kind; returns the map.
pub fn check_map_field_pointer(
    env: &mut Env<'_>,
    regno: Reg,
    kind: FieldKinds,
) -> Check<Option<MapId>> {
    let reg = *env.reg(regno);
    let what = kind.name();
    if !reg.var_off.is_const() {
        verbose!(
            env,
            "R{} doesn't have constant offset. {what} has to be at the constant offset\n",
            regno.0
        );
        return Err(Errno::EINVAL.into());
    }
    let Some(map) = reg.map() else { return Err(Errno::EFAULT.into()) };
    let name = env.map(map).def.name.clone();
    if !map_has_btf(env, map) {
        verbose!(env, "map '{name}' has to have BTF in order to use {what}\n");
        return Err(Errno::EINVAL.into());
    }
    let Some(field_off) = env.map(map).record.as_ref().and_then(|r| r.offset_of(kind)) else {
        verbose!(env, "map '{name}' has no valid {what}\n");
        return Err(Errno::EINVAL.into());
    };
    let off = reg.var_off.value.wrapping_add(reg.off as i64 as u64);
    if field_off as u64 != off {
        verbose!(
            env,
            "off {} doesn't point to 'struct {what}' that is at {field_off}\n",
            off as i64
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(Some(map))
}

/// A timer argument; remembers its map for the map argument that may follow.
pub fn process_timer_func(env: &mut Env<'_>, regno: Reg, meta: &mut CallMeta) -> Check {
    let map = check_map_field_pointer(env, regno, FieldKinds::TIMER)?;
    if meta.map.is_some() {
        verifier_bug!(env, "Two map pointers in a timer helper");
        return Err(Errno::EFAULT.into());
    }
    if env.kernel.config.has("PREEMPT_RT") {
        verbose!(env, "bpf_timer cannot be used for PREEMPT_RT.\n");
        return Err(Errno::EOPNOTSUPP.into());
    }
    meta.map_uid = env.reg(regno).map_uid();
    meta.map = map;
    Ok(())
}
