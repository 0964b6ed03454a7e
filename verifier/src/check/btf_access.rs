//! Loads and stores through pointers to kernel and local types (`check_ptr_to_btf_access`,
//! `check_ptr_to_map_access`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::prog::is_gpl_compatible;
use bpfassay_spec::{RegBase, TypeFlags};

use super::btf_walk::BtfLoad;
use super::btf_walk::{btf_of, btf_struct_access};
use super::btf_write::check_struct_write;
use super::map_value::map_of;
use super::trust::{
    in_rcu_cs, is_alloc_obj, is_non_owning_ref, is_rcu_reg, is_trusted_reg, TRUSTED,
};
use super::Access;
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Access of `size` bytes; `off` includes the register's fixed offset.
pub(super) fn check_ptr_to_btf_access(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    access: Access,
    value: Option<Reg>,
) -> Check {
    let reg = *env.reg(r);
    let Some(obj) = reg.btf() else {
        return Err(Stop::unsupported("BTF pointer without BTF"));
    };
    let btf = btf_of(env, obj)?;
    let tname = btf.name(reg.btf_id());
    check_pointer(env, &reg, r, off, tname)?;
    let off = if env.kernel.features.pointer_offset_whole {
        off.wrapping_add(reg.var_off.value as i32)
    } else {
        off
    };
    let plain = env.kernel.features.plain_pointers_may_fault && reg.ty == RegBase::BtfId;
    let may_fault = plain || reg.ty.has(TypeFlags::PTR_UNTRUSTED);
    if access == Access::Write && may_fault && env.kernel.features.untrusted_is_read_only {
        return only_read(env);
    }

    let (load, field) = if access == Access::Write && !reg.ty.has(TypeFlags::MEM_ALLOC) {
        let may = check_struct_write(env, &reg, off, size);
        if env.kernel.features.refused_write_named
            && !matches!(may, Ok(true) | Err(Stop::Unsupported(_)))
        {
            if may.is_ok() {
                return only_read(env);
            }
            verbose!(env, "R{} cannot write into ptr_{tname} at off={off} size={size}\n", r.0);
        }
        match may? {
            true => (BtfLoad::Scalar, String::new()),
            false => return only_read(env),
        }
    } else {
        if access != Access::Read && !is_alloc_obj(reg.ty) {
            return only_read(env);
        }
        if reg.ty.has(TypeFlags::MEM_ALLOC)
            && !is_non_owning_ref(reg.ty)
            && !reg.ty.has(TypeFlags::MEM_RCU)
            && reg.ref_obj_id == 0
            && !(may_fault && env.kernel.features.plain_pointers_may_fault)
        {
            verbose!(env, "verifier bug: ref_obj_id for allocated object must be non-zero\n");
            return Err(Errno::EFAULT.into());
        }
        btf_struct_access(env, &reg, off, size)?
    };
    let load = match load {
        BtfLoad::Ptr { btf: to, btf_id, flags } => {
            let flags = pointer_flags(env, &btf, &reg, &field, btf_id, flags);
            BtfLoad::Ptr { btf: to, btf_id, flags }
        }
        other => other,
    };
    if let (Access::Read, Some(dst)) = (access, value) {
        load.mark(env, dst)?;
    }
    Ok(())
}

fn only_read(env: &mut Env<'_>) -> Check {
    verbose!(env, "only read is supported\n");
    Err(Errno::EACCES.into())
}

/// What must hold of the pointer whatever is accessed.
fn check_pointer(env: &mut Env<'_>, reg: &RegState, r: Reg, off: i32, tname: &str) -> Check {
    if !env.allow_ptr_leaks {
        verbose!(env, words.struct_access_privilege, name = tname);
        return Err(Errno::EPERM.into());
    }
    if env.kernel.features.struct_access_wants_gpl
        && !is_gpl_compatible(&env.prog.license)
        && reg.btf() != Some(BtfObj::PROG)
    {
        verbose!(env, "Cannot access kernel 'struct {tname}' from non-GPL compatible program\n");
        return Err(Errno::EINVAL.into());
    }
    let n = r.0;
    let whole = env.kernel.features.pointer_offset_whole;
    if whole && !reg.var_off.is_const() {
        verbose!(
            env,
            "R{n} is ptr_{tname} invalid variable offset: off={off}, var_off={}\n",
            reg.var_off
        );
        return Err(Errno::EACCES.into());
    }
    let off = if whole { off.wrapping_add(reg.var_off.value as i32) } else { off };
    if off < 0 {
        verbose!(env, "R{n} is ptr_{tname} invalid negative access: off={off}\n");
    } else if !whole && (!reg.var_off.is_const() || reg.var_off.value != 0) {
        verbose!(
            env,
            "R{n} is ptr_{tname} invalid variable offset: off={off}, var_off={}\n",
            reg.var_off
        );
    } else if reg.ty.has(TypeFlags::MEM_USER) {
        verbose!(env, "R{n} is ptr_{tname} access user memory: off={off}\n");
    } else if reg.ty.has(TypeFlags::MEM_PERCPU) {
        verbose!(env, "R{n} is ptr_{tname} access percpu memory: off={off}\n");
    } else {
        return Ok(());
    }
    Err(Errno::EACCES.into())
}

/// Trust of a pointer found by walking another one.
fn pointer_flags(
    env: &Env<'_>,
    btf: &Btf,
    reg: &RegState,
    field: &str,
    btf_id: u32,
    found: TypeFlags,
) -> TypeFlags {
    let safe = |suffix| is_listed_field(btf, reg.btf_id(), field, btf_id, suffix);
    if reg.ty.has(TypeFlags::PTR_UNTRUSTED) {
        return TypeFlags::PTR_UNTRUSTED;
    }
    let trust = TRUSTED | TypeFlags::MEM_RCU;
    if !env.kernel.features.trust_tracked {
        return found & !(trust | TypeFlags::PTR_UNTRUSTED);
    }
    if !is_trusted_reg(reg) && !is_rcu_reg(reg) {
        return found & !trust;
    }
    let or_null = TypeFlags::PTR_MAYBE_NULL;
    if safe("__safe_trusted") {
        return found | TypeFlags::PTR_TRUSTED;
    }
    if safe("__safe_trusted_or_null") {
        return found | TypeFlags::PTR_TRUSTED | or_null;
    }
    if !in_rcu_cs(env) || reg.ty.may_be_null() {
        return TypeFlags::PTR_UNTRUSTED;
    }
    if safe("__safe_rcu") {
        return found | TypeFlags::MEM_RCU;
    }
    let rcu_or_null = safe("__safe_rcu_or_null");
    if found.intersects(TypeFlags::MEM_RCU) || rcu_or_null {
        let flags = found | TypeFlags::MEM_RCU | or_null;
        return if rcu_or_null { flags & !TypeFlags::PTR_UNTRUSTED } else { flags };
    }
    if found.intersects(TypeFlags::MEM_PERCPU | TypeFlags::MEM_USER) {
        return found;
    }
    found & !trust
}

/// The kernel lists fields that may be trusted as members of types named after the walked one
/// (`btf_nested_type_is_trusted`): same name and same pointee.
fn is_listed_field(btf: &Btf, walked: u32, field: &str, btf_id: u32, suffix: &str) -> bool {
    /// Size of the kernel's name buffer, with the terminating byte.
    const NAME_BUFFER: usize = 64;
    let Some(t) = btf.ty(walked) else { return false };
    let name = format!("{}{suffix}", t.name());
    if name.len() >= NAME_BUFFER {
        return false;
    }
    let Some(list) = btf.find_by_name_kind(&name, t.kind()).and_then(|id| btf.ty(id)) else {
        return false;
    };
    list.members().any(|m| {
        let Some(ptr) = btf.ty(m.type_id).filter(|p| p.kind() == BtfKind::Ptr) else {
            return false;
        };
        let pointee = btf.skip_mods_and_typedefs(ptr.type_id());
        pointee.is_some_and(|p| p.id() == btf_id) && btf.str(m.name_off) == field
    })
}

/// Load through a CONST_PTR_TO_MAP: the map itself as a kernel struct.
pub(super) fn check_ptr_to_map_access(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    access: Access,
    value: Option<Reg>,
) -> Check {
    let map = map_of(env.reg(r))?;
    let map_type = env.map(map).def.map_type;
    if env.btf(BtfObj::VMLINUX).is_none() {
        return Err(Stop::unsupported("map_ptr access without the kernel's BTF"));
    }
    let btf = btf_of(env, BtfObj::VMLINUX)?;
    let name = env.kernel.map_use(map_type).and_then(|row| row.kernel_struct);
    let id = name.and_then(|s| btf.find_by_name_kind(s, BtfKind::Struct));
    let Some(id) = id else {
        verbose!(env, "map_ptr access not supported for map type {}\n", map_type.number());
        return Err(Errno::ENOTSUPP.into());
    };
    let tname = btf.name(id);
    if !env.allow_ptr_leaks {
        verbose!(env, words.struct_access_privilege, name = tname);
        return Err(Errno::EPERM.into());
    }
    if off < 0 {
        verbose!(env, "R{} is {tname} invalid negative access: off={off}\n", r.0);
        return Err(Errno::EACCES.into());
    }
    if access != Access::Read {
        verbose!(env, "only read from {tname} is supported\n");
        return Err(Errno::EACCES.into());
    }
    let mut as_struct = RegState::ZEROED;
    as_struct.ty = RegBase::BtfId.into();
    as_struct.set_btf(BtfObj::VMLINUX, id);
    let (load, _) = btf_struct_access(env, &as_struct, off, size)?;
    if let Some(dst) = value {
        load.mark(env, dst)?;
    }
    Ok(())
}
