//! What the passes before exploration ask about a call (`get_call_summary`, `fetch_kfunc_meta`).

use bpfassay_isa::RawInsn;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::{func, HelperProto, ProgKind, ProgType, ProtoLookup, RetBase};

use super::helper_kind as kind;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::Check;

/// Registers a call takes and clobbers (`struct call_summary`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallSummary {
    pub num_params: u8,
    pub is_void: bool,
    /// Follows the bpf_fastcall contract on this kernel.
    pub fastcall: bool,
}

/// What a helper or kfunc does beside its result, as `visit_insn` needs it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CallEffects {
    pub might_sleep: bool,
    pub changes_pkt_data: bool,
    pub is_iter_next: bool,
}

/// The program as the helper tables see it.
pub fn with_prog_kind<T>(env: &Env<'_>, ask: impl FnOnce(&ProgKind<'_>) -> T) -> T {
    let target = env.prog.attach_target.as_ref();
    let vmlinux = env.btf(BtfObj::VMLINUX);
    let mut hook = target.map(|t| vmlinux.map_or(t.name.as_str(), |b| b.name(t.btf_id)).to_string());
    if env.prog_type() == ProgType::StructOps {
        // `struct_name.member`
        hook = target.and_then(|t| {
            let ty = vmlinux?.ty(t.btf_id).filter(|t| t.kind() == BtfKind::Struct)?;
            let member = ty.member(t.member? as usize)?;
            Some(format!("{}.{}", ty.name(), ty.btf().str(member.name_off)))
        });
    }
    let kind = ProgKind {
        prog_type: env.prog_type(),
        attach_type: env.prog.expected_attach_type,
        sleepable: env.prog_sleepable,
        hook: hook.as_deref(),
        caps: env.caps(),
    };
    ask(&kind)
}

/// Prototype of a helper for this program (`get_helper_proto`).
pub fn lookup_helper(env: &Env<'_>, func_id: i32) -> ProtoLookup {
    with_prog_kind(env, |kind| env.kernel.helper_proto(kind, func_id))
}

fn call_at(env: &Env<'_>, idx: u32) -> Option<RawInsn> {
    env.insns.get(idx as usize).copied()
}

fn helper_at(env: &Env<'_>, idx: u32) -> Option<&'static HelperProto> {
    let insn = call_at(env, idx).filter(|i| i.is_helper_call())?;
    match lookup_helper(env, insn.imm) {
        ProtoLookup::Proto(p) => Some(p),
        _ => None,
    }
}

/// The helper or kfunc call at `idx`; None where its prototype cannot be found (reported later).
pub fn get_call_summary(env: &Env<'_>, idx: u32) -> Option<CallSummary> {
    let proto = helper_at(env, idx)?;
    Some(CallSummary {
        num_params: proto.arg_count() as u8,
        is_void: proto.ret == RetBase::Void,
        fastcall: proto.allow_fastcall && is_inlined(env, proto.id as i32),
    })
}

/// The verifier or the JIT replaces the call by instructions (`verifier_inlines_helper_call`, `bpf_jit_inlines_helper_call`).
fn is_inlined(env: &Env<'_>, func_id: i32) -> bool {
    let jit = &env.kernel.jit;
    let reads_cpu = func_id == func::GET_SMP_PROCESSOR_ID && env.kernel.arch == "x86_64";
    let by_verifier = reads_cpu && jit.enabled && jit.percpu_insn;
    let name = bpfassay_spec::helper::func_id_name(func_id);
    by_verifier || jit.inlines.iter().any(|n| n == name)
}

/// The helper or kfunc call at `idx`; all false where its prototype cannot be found.
pub fn call_effects(env: &Env<'_>, idx: u32) -> CallEffects {
    let Some(insn) = call_at(env, idx) else { return CallEffects::default() };
    if !insn.is_helper_call() {
        return CallEffects::default();
    }
    CallEffects {
        might_sleep: helper_at(env, idx).is_some_and(|p| p.might_sleep),
        changes_pkt_data: func::changes_pkt_data(insn.imm),
        is_iter_next: false,
    }
}

/// `bpf_for_each_map_elem`, `bpf_loop`, `bpf_user_ringbuf_drain`, `bpf_find_vma`, rbtree_add kfunc.
pub fn is_sync_callback_calling_insn(env: &Env<'_>, idx: u32) -> bool {
    call_at(env, idx).is_some_and(|i| i.is_helper_call() && kind::is_sync_callback_calling(i.imm))
}

/// `bpf_timer_set_callback`, `bpf_wq_set_callback`, `bpf_task_work_schedule_*`.
pub fn is_async_callback_calling_insn(env: &Env<'_>, idx: u32) -> bool {
    call_at(env, idx).is_some_and(|i| i.is_helper_call() && kind::is_async_callback_calling(i.imm))
}

/// Kfuncs that may be called while a spin lock is held.
pub fn kfunc_spin_allowed(_env: &Env<'_>, _btf_id: i32) -> bool {
    false
}

/// The call at `idx` is `bpf_throw`.
pub fn is_bpf_throw_kfunc(_env: &Env<'_>, _idx: u32) -> bool {
    false
}

/// The call at `idx` runs its callback with the tree's lock held (`bpf_rbtree_add`).
pub fn is_rbtree_lock_required_call(_env: &Env<'_>, _idx: u32) -> bool {
    false
}

/// Looks a called kfunc up and remembers it; its complaints come before `func#N` lines.
pub fn add_kfunc_call(_env: &mut Env<'_>, _btf_id: i32, _fd_idx: i16) -> Check {
    Err(crate::stop::Stop::unsupported("kfunc calls"))
}
