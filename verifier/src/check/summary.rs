//! What the passes before exploration ask about a call (`get_call_summary`, `fetch_kfunc_meta`).

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

/// The helper or kfunc call at `idx`; None where its prototype cannot be found (reported later).
pub fn get_call_summary(_env: &Env<'_>, _idx: u32) -> Option<CallSummary> {
    None
}

/// The helper or kfunc call at `idx`; all false where its prototype cannot be found.
pub fn call_effects(_env: &Env<'_>, _idx: u32) -> CallEffects {
    CallEffects::default()
}

/// `bpf_for_each_map_elem`, `bpf_loop`, `bpf_user_ringbuf_drain`, `bpf_find_vma`, rbtree_add kfunc.
pub fn is_sync_callback_calling_insn(_env: &Env<'_>, _idx: u32) -> bool {
    false
}

/// `bpf_timer_set_callback`, `bpf_wq_set_callback`, `bpf_task_work_schedule_*`.
pub fn is_async_callback_calling_insn(_env: &Env<'_>, _idx: u32) -> bool {
    false
}

/// Kfuncs that may be called while a spin lock is held.
pub fn kfunc_spin_allowed(_env: &Env<'_>, _btf_id: i32) -> bool {
    false
}

/// The call at `idx` is `bpf_throw`.
pub fn is_bpf_throw_kfunc(_env: &Env<'_>, _idx: u32) -> bool {
    false
}

/// Looks a called kfunc up and remembers it; its complaints come before `func#N` lines.
pub fn add_kfunc_call(_env: &mut Env<'_>, _btf_id: i32, _fd_idx: i16) -> Check {
    Err(crate::stop::Stop::unsupported("kfunc calls"))
}
