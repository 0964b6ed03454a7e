//! Kernel pointers kept in map values and objects (`process_kptr_func`).

use super::btf_record::FieldKinds;
use super::callinfo::CallMeta;
use super::locks::{map_has_btf, reg_btf_record};
use super::trust::is_alloc_obj;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;
use bpfassay_isa::Reg;

/// The destination of `bpf_kptr_xchg`.
pub fn process_kptr_func(env: &mut Env<'_>, regno: Reg, meta: &mut CallMeta) -> Check {
    let reg = *env.reg(regno);
    if !is_alloc_obj(reg.ty) {
        let Some(map) = reg.map() else { return Err(Errno::EFAULT.into()) };
        if !map_has_btf(env, map) {
            let name = env.map(map).def.name.clone();
            verbose!(env, "map '{name}' has to have BTF in order to use bpf_kptr_xchg\n");
            return Err(Errno::EINVAL.into());
        }
        meta.map = Some(map);
    }
    if !reg.var_off.is_const() {
        verbose!(
            env,
            "R{} doesn't have constant offset. kptr has to be at the constant offset\n",
            regno.0
        );
        return Err(Errno::EINVAL.into());
    }
    let record = reg_btf_record(env, &reg);
    if !record.is_some_and(|r| r.has(FieldKinds::KPTR)) {
        let named = meta.map.filter(|_| !env.kernel.features.fields_together);
        match named.map(|m| env.map(m).def.name.clone()) {
            Some(name) => verbose!(env, "map '{name}' has no valid kptr\n"),
            None => verbose!(env, "R{} has no valid kptr\n", regno.0),
        }
        return Err(Errno::EINVAL.into());
    }
    let off = (reg.off as u32).wrapping_add(reg.var_off.value as u32);
    let Some(field) = record.and_then(|r| r.find(off, FieldKinds::KPTR)).copied() else {
        verbose!(env, "off={} doesn't point to kptr\n", off as i32);
        return Err(Errno::EACCES.into());
    };
    if !field.kind.intersects(FieldKinds::KPTR_REF | FieldKinds::KPTR_PERCPU) {
        verbose!(env, "off={} kptr isn't referenced kptr\n", off as i32);
        return Err(Errno::EACCES.into());
    }
    meta.kptr_field = Some(field);
    Ok(())
}
