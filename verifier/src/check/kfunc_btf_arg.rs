//! Arguments of kfuncs that point to a struct of the kernel's.

use bpfassay_object::btf::{BtfKind, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{RegBase, RegType};

use super::btf_record::KptrTarget;
use super::btf_walk::btf_struct_ids_match;
use super::callinfo::KfuncMeta;
use super::kfunc_arg::{arg_name, args_name, reg2btf};
use super::kfunc_args::invalid;
use super::prog_ctx;
use super::trust::{has_unsafe_modifiers, is_rcu_reg, TRUSTED};
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Stop};
use crate::verbose;

/// The struct an argument asks for.
pub(super) enum Wanted<'b> {
    Pointee(Type<'b>),
    /// `struct bpf_map`, whatever the prototype says.
    Map,
}

/// The pointer in argument `i` (from 0) points to what the call wants (`process_kf_arg_ptr_to_btf_id`).
pub(super) fn check_btf_id(
    env: &mut Env<'_>,
    meta: &KfuncMeta,
    i: usize,
    reg: &RegState,
    want: Wanted<'_>,
) -> Check {
    let arg = arg_name(env, i);
    let known = reg2btf(reg.base());
    let unsafe_ptr = has_unsafe_modifiers(reg.ty) && !is_rcu_reg(reg);
    if (reg.base() != RegBase::BtfId || unsafe_ptr) && known.is_none() {
        verbose!(env, "{arg} is {} ", env.type_name(reg.ty));
        let kept = RegType::with(reg.base(), reg.flags() & TRUSTED);
        verbose!(env, "expected {} or socket\n", env.type_name(kept));
        return invalid();
    }
    let vmlinux = env.btf(BtfObj::VMLINUX).cloned();
    let vmlinux =
        vmlinux.ok_or_else(|| Stop::unsupported("kfunc arguments without a kernel BTF"))?;
    let want = match want {
        Wanted::Pointee(t) => t,
        Wanted::Map => vmlinux
            .find_by_name_kind("bpf_map", BtfKind::Struct)
            .and_then(|id| vmlinux.ty(id))
            .ok_or_else(|| Stop::unsupported("kernel BTF without struct bpf_map"))?,
    };
    let (obj, id) = match known {
        Some(name) if reg.base() != RegBase::BtfId => {
            (BtfObj::VMLINUX, super::arg_types::kernel_struct_id(env, name)?)
        }
        _ => (reg.btf().unwrap_or(BtfObj::VMLINUX), reg.btf_id()),
    };
    let Some(reg_btf) = env.btf(obj).cloned() else {
        return Err(Stop::unsupported("pointer without its BTF"));
    };
    let raw_name = reg_btf.name(id);
    let released = meta.has(KfuncFlags::RELEASE) && reg.ref_obj_id != 0;
    let strict = released || is_nocast_alias(raw_name, want.name());
    let Some(have) = reg_btf.skip_mods_and_typedefs(id) else { return invalid() };
    let need = KptrTarget { btf: meta.btf, btf_id: want.id() };
    let from = KptrTarget { btf: obj, btf_id: have.id() };
    let same = btf_struct_ids_match(env, from, reg.const_off(), need, strict);
    if !prog_ctx::is_projection_of(want.name(), have.name()) && !same {
        let args = args_name(env, i);
        verbose!(
            env,
            "kernel function {} {args} expected pointer to {} {} but R{} has a pointer to {} {}\n",
            meta.name,
            want.kind().kernel_name(),
            want.name(),
            i + 1,
            have.kind().kernel_name(),
            have.name()
        );
        return invalid();
    }
    Ok(())
}

/// One name is the other with `___init` behind it: same layout, no cast (`btf_type_ids_nocast_alias`).
fn is_nocast_alias(a: &str, b: &str) -> bool {
    a.strip_suffix("___init") == Some(b) || b.strip_suffix("___init") == Some(a)
}
