//! What the passes before exploration ask about a call (`get_call_summary`, `fetch_kfunc_meta`).

use bpfassay_isa::RawInsn;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{func, HelperProto, ProgKind, ProgType, ProtoLookup, RetBase};

use super::callinfo::{KfuncMeta, Special};
use super::kfunc::{fetch_kfunc_meta, special_at, special_by_id};
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::precheck::effective_attach_type;

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
    pub might_throw: bool,
}

/// The program as the helper tables see it.
pub fn with_prog_kind<T>(env: &Env<'_>, ask: impl FnOnce(&ProgKind<'_>) -> T) -> T {
    let target = env.prog.attach_target.as_ref();
    let vmlinux = env.btf(BtfObj::VMLINUX);
    let mut hook =
        target.map(|t| vmlinux.map_or(t.name.as_str(), |b| b.name(t.btf_id)).to_string());
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
        attach_type: effective_attach_type(env.prog, env.kernel),
        sleepable: env.prog_sleepable,
        hook: hook.as_deref(),
        caps: env.caps(),
    };
    ask(&kind)
}

/// Prototype of a helper for this program (`get_helper_proto`).
pub fn lookup_helper(env: &Env<'_>, func_id: i32) -> ProtoLookup {
    let known = env.helpers.get(func_id);
    known.unwrap_or_else(|| with_prog_kind(env, |kind| env.kernel.helper_proto(kind, func_id)))
}

/// Looks up every helper that the program calls.
pub fn resolve_helpers(env: &mut Env<'_>) {
    let ids = env.insns.iter().filter(|i| i.is_helper_call()).map(|i| i.imm);
    env.helpers = with_prog_kind(env, |kind| env.kernel.helper_table(kind, ids));
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

fn kfunc_at(env: &Env<'_>, idx: u32) -> Option<KfuncMeta> {
    let insn = call_at(env, idx).filter(|i| i.is_kfunc_call())?;
    fetch_kfunc_meta(env, insn).ok()
}

/// The helper or kfunc call at `idx`; None where its prototype cannot be found (reported later).
pub fn get_call_summary(env: &Env<'_>, idx: u32) -> Option<CallSummary> {
    if let Some(meta) = kfunc_at(env, idx) {
        let btf = env.btf(meta.btf)?;
        let proto = btf.ty(meta.proto_id)?;
        return Some(CallSummary {
            num_params: proto.vlen() as u8,
            is_void: proto.type_id() == 0,
            fastcall: meta.has(KfuncFlags::FASTCALL),
        });
    }
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
    by_verifier || env.kernel.jit_inlines(func_id)
}

/// The helper or kfunc call at `idx`; all false where its prototype cannot be found.
pub fn call_effects(env: &Env<'_>, idx: u32) -> CallEffects {
    let Some(insn) = call_at(env, idx) else { return CallEffects::default() };
    if let Some(meta) = kfunc_at(env, idx) {
        return CallEffects {
            might_sleep: meta.has(KfuncFlags::SLEEPABLE),
            changes_pkt_data: meta.is(Special::XdpPullData),
            is_iter_next: meta.has(KfuncFlags::ITER_NEXT),
            might_throw: meta.is(Special::Throw),
        };
    }
    if !insn.is_helper_call() {
        return CallEffects::default();
    }
    // An extension has no helpers yet when its graph is walked.
    let has_helpers = env.type_before_target() == env.prog.prog_type;
    CallEffects {
        might_sleep: has_helpers && helper_at(env, idx).is_some_and(|p| helper_may_sleep(env, p)),
        changes_pkt_data: env.kernel.helper_traits(insn.imm).changes_pkt_data,
        is_iter_next: false,
        might_throw: false,
    }
}

/// Some helpers sleep only in the form that sleepable programs get, and not on every release.
pub fn helper_may_sleep(env: &Env<'_>, proto: &HelperProto) -> bool {
    let by_form = || env.kernel.helper_traits(proto.id as i32).form_sleeps;
    proto.might_sleep || proto.func.ends_with("_sleepable") && by_form()
}

/// Any kfunc by its number: the kernel does not look at the BTF here.
fn special_kfunc(env: &Env<'_>, idx: u32) -> Option<Special> {
    call_at(env, idx).filter(|i| i.is_kfunc_call()).and_then(|i| special_by_id(env, i.imm))
}

/// `bpf_for_each_map_elem`, `bpf_loop`, `bpf_user_ringbuf_drain`, `bpf_find_vma`, rbtree_add kfunc.
pub fn is_sync_callback_calling_insn(env: &Env<'_>, idx: u32) -> bool {
    let helper = call_at(env, idx)
        .is_some_and(|i| i.is_helper_call() && env.kernel.helper_traits(i.imm).calls_back);
    helper || special_kfunc(env, idx) == Some(Special::RbtreeAdd)
}

/// `bpf_timer_set_callback`, `bpf_wq_set_callback`, `bpf_task_work_schedule_*`.
pub fn is_async_callback_calling_insn(env: &Env<'_>, idx: u32) -> bool {
    let helper = call_at(env, idx)
        .is_some_and(|i| i.is_helper_call() && env.kernel.helper_traits(i.imm).calls_later);
    helper || special_kfunc(env, idx).is_some_and(Special::is_async_callback_calling)
}

/// The kfunc called may be called with a lock held: by its flag, or as one of those the verifier knows.
pub fn may_call_under_lock(env: &Env<'_>, insn: RawInsn) -> bool {
    let marked = fetch_kfunc_meta(env, insn).is_ok_and(|m| m.has(KfuncFlags::SPINLOCK_SAFE));
    marked || (insn.off == 0 && kfunc_spin_allowed(env, insn.imm))
}

/// Kfuncs that may be called while a spin lock is held.
pub fn kfunc_spin_allowed(env: &Env<'_>, btf_id: i32) -> bool {
    let counts = env.kernel.features.counting_under_lock;
    let allowed = |s: Special| s.is_spin_allowed() && (counts || !s.is_counting());
    special_by_id(env, btf_id).is_some_and(allowed)
}

/// The call at `idx` is `bpf_throw`.
pub fn is_bpf_throw_kfunc(env: &Env<'_>, idx: u32) -> bool {
    call_at(env, idx).and_then(|i| special_at(env, i)) == Some(Special::Throw)
}

/// The call at `idx` runs its callback with the tree's lock held (`bpf_rbtree_add`).
pub fn is_rbtree_lock_required_call(env: &Env<'_>, idx: u32) -> bool {
    special_kfunc(env, idx).is_some_and(Special::is_rbtree_api)
}

pub use super::kfunc::add_kfunc_call;
