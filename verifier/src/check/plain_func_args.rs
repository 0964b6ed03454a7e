//! Arguments of subprograms before 6.8: registers are held against BTF anew at every call, and where the main program
//! begins (`btf_check_func_arg_match` in `kernel/bpf/btf.c` of 5.10 and 6.1).
//!
//! For the main program and static functions a mismatch only means that their BTF is not relied on; what was said on
//! the way stays in the log.

use bpfassay_isa::Reg;
use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::{ArgBase, ArgType, RegBase};

use super::arg_types::check_func_arg_reg_off;
use super::func_args::has_context_struct;
use super::mem_arg::check_mem_reg;
use super::prog_ctx::is_prog_ctx_type;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::{trace, verbose};

fn invalid<T>() -> Check<T> {
    Err(Errno::EINVAL.into())
}

/// The context in R1 against the main program's arguments.
pub fn check_main(env: &mut Env<'_>) -> Check {
    if env.prog.func_info.is_empty() || env.subprogs[0].unreliable {
        return Ok(());
    }
    let r1 = env.reg_mut(Reg::R1);
    r1.ty = bpfassay_spec::RegType::of(RegBase::Ctx);
    r1.mark_known_zero();
    match check_args(env, 0, false) {
        Err(Stop::Reject(_)) => {
            env.subprogs[0].unreliable = true;
            Ok(())
        }
        other => other,
    }
}

/// Registers of the current frame against the arguments of a function that is called.
pub fn check_call(env: &mut Env<'_>, subprog: u32) -> Check {
    check_args(env, subprog, true)
}

fn check_args(env: &mut Env<'_>, subprog: u32, calls: bool) -> Check {
    let (Some(info), Some(btf)) =
        (env.prog.func_info.get(subprog as usize).copied(), env.prog.btf.clone())
    else {
        return invalid();
    };
    let Some((func, proto)) = btf.ty(info.type_id).zip(btf.func_proto(info.type_id)) else {
        return invalid();
    };
    let most = env.kernel.limits.max_func_reg_args;
    if proto.vlen() > most as usize {
        let (name, n) = (func.name(), proto.vlen());
        verbose!(env, "Function {name} has {n} > {most} args\n");
        return invalid();
    }
    let args = Args { btf: &btf, func, is_global: env.subprogs[subprog as usize].is_global, calls };
    for (i, param) in proto.params().enumerate() {
        let Some(t) = btf.skip_mods_and_typedefs(param.type_id) else { return invalid() };
        args.check(env, i, t)?;
    }
    Ok(())
}

/// The function whose arguments are checked.
struct Args<'b> {
    btf: &'b Btf,
    func: Type<'b>,
    is_global: bool,
    /// At a call; the main program is not called.
    calls: bool,
}

impl Args<'_> {
    fn check(&self, env: &mut Env<'_>, i: usize, t: Type<'_>) -> Check {
        let regno = Reg(i as u8 + 1);
        let reg = *env.reg(regno);
        let kind = t.kind().kernel_name();
        if t.kind() == BtfKind::Int || t.kind().is_any_enum() {
            if reg.ty == RegBase::Scalar {
                return Ok(());
            }
            verbose!(env, "R{} is not a scalar\n", regno.0);
            return invalid();
        }
        let is_ptr = t.kind() == BtfKind::Ptr;
        if !env.kernel.features.global_pointer_args {
            if is_ptr && self.is_context(env, i, t, &reg)? {
                return Ok(());
            }
            verbose!(env, "Unrecognized arg#{i} type {kind}\n");
            return invalid();
        }
        if !is_ptr {
            verbose!(env, "Unrecognized arg#{i} type {kind}\n");
            return invalid();
        }
        check_func_arg_reg_off(env, &reg, regno, ArgType::of(ArgBase::DontCare))?;
        if self.is_tagged(env, i) || is_prog_ctx_type(env, self.btf, t)? {
            return must_be_context(env, i, &reg);
        }
        if self.is_global && self.calls {
            return self.check_memory(env, i, t);
        }
        let (name, id) = (self.func.name(), self.func.id());
        verbose!(env, "reg type unsupported for arg#{i} function {name}#{id}\n");
        invalid()
    }

    /// 5.10 knows no pointers but the context; false for another one.
    fn is_context(&self, env: &mut Env<'_>, i: usize, t: Type<'_>, reg: &RegState) -> Check<bool> {
        let regno = i + 1;
        if reg.ty == RegBase::Scalar {
            verbose!(env, "R{regno} is not a pointer\n");
            return invalid();
        }
        if !self.is_tagged(env, i) && !is_ctx(env, self.btf, t, i)? {
            return Ok(false);
        }
        must_be_context(env, i, reg)?;
        if reg.off != 0 {
            let off = reg.off;
            verbose!(env, "dereference of modified ctx ptr R{regno} off={off} disallowed\n");
            return invalid();
        }
        if !reg.var_off.is_const() || reg.var_off.value != 0 {
            verbose!(env, "variable ctx access var_off={} disallowed\n", reg.var_off);
            return invalid();
        }
        Ok(true)
    }

    /// libbpf gives an argument with the tag `arg:ctx` the context's type.
    fn is_tagged(&self, env: &Env<'_>, i: usize) -> bool {
        self.is_global
            && self.btf.decl_tags(self.func.id(), i as i32).any(|t| t == "arg:ctx")
            && has_context_struct(env)
    }

    /// Memory of the pointee's size.
    fn check_memory(&self, env: &mut Env<'_>, i: usize, ptr: Type<'_>) -> Check {
        let Some(t) = self.btf.skip_mods_and_typedefs(ptr.type_id()) else { return invalid() };
        let Some(size) = self.btf.size_of(t.id()) else {
            let (kind, name, err) = (t.kind().kernel_name(), t.name(), -Errno::EINVAL.0);
            verbose!(
                env,
                "arg#{i} reference type('{kind} {name}') size cannot be determined: {err}\n"
            );
            return invalid();
        };
        match check_mem_reg(env, Reg(i as u8 + 1), size) {
            Err(Stop::Reject(_)) => invalid(),
            other => other,
        }
    }
}

fn must_be_context(env: &mut Env<'_>, i: usize, reg: &RegState) -> Check {
    if reg.ty == RegBase::Ctx {
        return Ok(());
    }
    verbose!(env, "arg#{i} expected pointer to ctx, but got PTR\n");
    invalid()
}

/// The pointer is to the context; a kernel that knows no other pointers says what stands in its place.
pub fn is_ctx(env: &mut Env<'_>, btf: &Btf, ptr: Type<'_>, i: usize) -> Check<bool> {
    let pointee = btf.skip_mods_and_typedefs(ptr.type_id());
    let is_struct = pointee.is_some_and(|t| t.kind().is_composite());
    if !is_struct && !env.kernel.features.global_pointer_args && env.log.level.prints_insns() {
        trace!(env, "arg#{i} type is not a struct\n");
    }
    is_prog_ctx_type(env, btf, ptr)
}
