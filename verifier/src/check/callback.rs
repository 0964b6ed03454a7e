//! Subprograms that helpers and kfuncs call back (`push_callback_call`, `set_*_callback_state`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::btf_record::{FieldKinds, GraphRoot};
use super::dynptr::mark_dynptr_cb_reg;
use super::func_args::btf_check_subprog_call;
use super::func_call::{
    callee_frame, check_call_depth, check_global_call, enter, remember_refs, CALLER_SAVED,
};
use super::locks::reg_btf_record;
use super::summary;
use crate::domain::marks::At;
use crate::domain::reg::{BtfObj, DynptrType, MapId, RegState};
use crate::domain::state::{FuncState, RetvalRange};
use crate::env::{AuxUse, Env};
use crate::explore::worklist::{push_async_cb, push_stack};
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// How the callback's frame is filled from its caller's (`set_callee_state_fn`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CalleeState {
    /// A plain call: R1 to R5 are passed on.
    Call,
    ForEachMapElem,
    Loop,
    Timer,
    FindVma,
    UserRingbuf,
    RbtreeAdd,
    Workqueue,
    TaskWork,
}

/// Registers and rules of a callee's frame, worked out before the frame exists.
pub struct CalleeSetup {
    /// R0 to R5; None leaves the fresh frame's register.
    regs: [Option<RegState>; 6],
    /// Registers of the caller that these are copies of.
    from: [Option<Reg>; 6],
    in_callback: bool,
    in_async_callback: bool,
    ret_range: RetvalRange,
}

impl CalleeSetup {
    fn new() -> CalleeSetup {
        CalleeSetup {
            regs: [None; 6],
            from: [None; 6],
            in_callback: false,
            in_async_callback: false,
            ret_range: RetvalRange::default(),
        }
    }

    fn sync(mut self) -> CalleeSetup {
        self.in_callback = true;
        self.ret_range = RetvalRange { min: 0, max: 1 };
        self
    }

    fn set(&mut self, r: Reg, reg: RegState) {
        self.regs[r.index()] = Some(reg);
    }

    /// Passes a register of the caller on.
    fn pass(&mut self, r: Reg, caller: &FuncState, from: Reg) {
        self.set(r, *caller.reg(from));
        self.from[r.index()] = Some(from);
    }

    /// Fills the frame; what is passed on keeps the marks it has in the caller's.
    pub fn apply(&self, callee: &mut FuncState, caller: &FuncState) {
        for (i, reg) in self.regs.iter().enumerate() {
            if let Some(reg) = reg {
                callee.regs[i] = *reg;
            }
            if let (Some(from), Some(marks)) = (self.from[i], &mut callee.marks) {
                marks.regs[i] = caller.mark(At::Reg(from.0));
            }
        }
        callee.in_callback_fn |= self.in_callback;
        callee.in_async_callback_fn |= self.in_async_callback;
        if self.in_callback || self.in_async_callback {
            callee.callback_ret_range = self.ret_range;
        }
    }
}

/// A register of a fresh frame with another type: bounds stay unknown unless zeroed.
fn fresh(env: &Env<'_>) -> RegState {
    let mut reg = RegState::ZEROED;
    reg.mark_not_init(env.bpf_capable);
    reg
}

fn zeroed(env: &Env<'_>, base: RegBase) -> RegState {
    let mut reg = fresh(env);
    reg.ty = RegType::of(base);
    reg.mark_known_zero();
    reg
}

fn map_reg(env: &Env<'_>, base: RegBase, map: Option<MapId>) -> RegState {
    let mut reg = zeroed(env, base);
    if let Some(map) = map {
        reg.set_map(map);
    }
    reg
}

/// Works out the callee's registers from the current frame.
pub fn callee_setup(env: &mut Env<'_>, kind: CalleeState, insn_idx: u32) -> Check<CalleeSetup> {
    let mut setup = CalleeSetup::new();
    match kind {
        CalleeState::Call => {
            for r in 1..=5 {
                setup.pass(Reg(r), env.frame(), Reg(r));
            }
            return Ok(setup);
        }
        CalleeState::ForEachMapElem => {
            let poisoned = matches!(env.aux(insn_idx).used, AuxUse::MapPtr { poison: true, .. });
            if poisoned && !env.kernel.features.walks_any_map {
                verbose!(env, "tail_call abusing map_ptr\n");
                return Err(Errno::EINVAL.into());
            }
            if !may_iterate(env, insn_idx) {
                verbose!(env, "callback function not allowed for map\n");
                return Err(Errno::ENOTSUPP.into());
            }
            let map = env.reg(Reg::R1).map();
            setup.pass(Reg::R1, env.frame(), Reg::R1);
            setup.set(Reg::R2, map_reg(env, RegBase::MapKey, map));
            setup.set(Reg::R3, value_reg(env, map));
            setup.pass(Reg::R4, env.frame(), Reg::R3);
            unused(env, &mut setup, 5);
        }
        CalleeState::Loop => {
            let mut index = fresh(env);
            index.ty = RegType::of(RegBase::Scalar);
            setup.set(Reg::R1, index);
            setup.pass(Reg::R2, env.frame(), Reg::R3);
            unused(env, &mut setup, 3);
        }
        CalleeState::FindVma => {
            let mut vma = zeroed(env, RegBase::BtfId);
            let id = env
                .btf(BtfObj::VMLINUX)
                .and_then(|b| b.find_by_name_kind("vm_area_struct", BtfKind::Struct));
            let id =
                id.ok_or_else(|| Stop::unsupported("kernel BTF without struct vm_area_struct"))?;
            vma.set_btf(BtfObj::VMLINUX, id);
            setup.pass(Reg::R1, env.frame(), Reg::R1);
            setup.set(Reg::R2, vma);
            setup.pass(Reg::R3, env.frame(), Reg::R4);
            unused(env, &mut setup, 4);
        }
        CalleeState::UserRingbuf => {
            let mut dynptr = fresh(env);
            mark_dynptr_cb_reg(env, &mut dynptr, DynptrType::Local);
            setup.set(Reg::R0, fresh(env));
            setup.set(Reg::R1, dynptr);
            setup.pass(Reg::R2, env.frame(), Reg::R3);
            unused(env, &mut setup, 3);
        }
        CalleeState::RbtreeAdd => {
            let root = rbtree_root(env).ok_or(Stop::Reject(Errno::EFAULT))?;
            let mut node = graph_node(env, &root);
            super::graph::ref_set_non_owning(env, &mut node)?;
            setup.set(Reg::R1, node);
            setup.set(Reg::R2, node);
            unused(env, &mut setup, 3);
        }
        CalleeState::Timer | CalleeState::Workqueue => {
            return Ok(async_setup(env, Reg::R1, RetvalRange { min: 0, max: 0 }))
        }
        CalleeState::TaskWork => {
            return Ok(async_setup(env, Reg::R3, RetvalRange { min: i32::MIN, max: i32::MAX }))
        }
    }
    Ok(setup.sync())
}

/// The map value that a callback receives.
fn value_reg(env: &mut Env<'_>, map: Option<MapId>) -> RegState {
    let mut reg = map_reg(env, RegBase::MapValue, map);
    if env.kernel.features.callback_values_numbered {
        reg.id = env.new_id();
    }
    reg
}

fn unused(env: &Env<'_>, setup: &mut CalleeSetup, from: u8) {
    for r in from..=5 {
        setup.set(Reg(r), fresh(env));
    }
}

/// `(map, key, value)` of the map value that holds the timer, work queue or task work.
fn async_setup(env: &mut Env<'_>, holder: Reg, ret_range: RetvalRange) -> CalleeSetup {
    let map = env.reg(holder).map();
    let mut setup = CalleeSetup::new();
    setup.set(Reg::R1, map_reg(env, RegBase::ConstMapPtr, map));
    setup.set(Reg::R2, map_reg(env, RegBase::MapKey, map));
    setup.set(Reg::R3, value_reg(env, map));
    unused(env, &mut setup, 4);
    setup.in_async_callback = true;
    setup.ret_range = ret_range;
    setup
}

/// Map types that can be walked (`map_for_each_callback`), by the map of the call site.
fn may_iterate(env: &Env<'_>, insn_idx: u32) -> bool {
    let AuxUse::MapPtr { map, .. } = env.aux(insn_idx).used else { return false };
    env.kernel.map_use(env.map(map).def.map_type).is_some_and(|row| row.walk)
}

/// The tree the caller adds to; its node was released by now, so the root tells the type.
fn rbtree_root(env: &Env<'_>) -> Option<GraphRoot> {
    let root = env.reg(Reg::R1);
    let field = reg_btf_record(env, root)?.find(root.const_off() as u32, FieldKinds::RB_ROOT)?;
    field.root().filter(|r| r.value_btf_id != 0)
}

/// An object that is a node of a list or tree (`mark_reg_graph_node`).
pub fn graph_node(env: &Env<'_>, root: &GraphRoot) -> RegState {
    let mut reg = fresh(env);
    reg.mark_known_zero();
    reg.ty = RegType::with(RegBase::BtfId, TypeFlags::MEM_ALLOC);
    reg.set_btf(root.btf, root.value_btf_id);
    if env.kernel.features.pointer_offset_whole {
        reg.mark_known(u64::from(root.node_offset));
        reg.set_btf(root.btf, root.value_btf_id);
    } else {
        reg.off = root.node_offset as i32;
    }
    reg
}

/// Has the subprogram verified as callback of the call at `insn_idx`: now for synchronous ones,
/// as a root of its own for the others.
pub fn push_callback_call(
    env: &mut Env<'_>,
    insn_idx: u32,
    subprog: u32,
    kind: CalleeState,
) -> Check {
    if !env.kernel.features.callbacks_repeat {
        return call_once(env, insn_idx, subprog, kind);
    }
    match btf_check_subprog_call(env, subprog) {
        Err(Stop::Reject(Errno::EFAULT)) => return Err(Errno::EFAULT.into()),
        Err(stop @ Stop::Unsupported(_)) => return Err(stop),
        _ => {}
    }
    let Some(info) = env.subprogs.get_mut(subprog as usize) else {
        return Err(Errno::EFAULT.into());
    };
    info.is_cb = true;
    if summary::is_async_callback_calling_insn(env, insn_idx) {
        return push_async_callback(env, insn_idx, subprog, kind);
    }
    let start = env.subprogs[subprog as usize].start;
    push_stack(env, start, insn_idx, false)?;
    check_call_depth(env)?;
    let setup = callee_setup(env, kind, insn_idx)?;
    let callee = callee_frame(env, subprog, insn_idx as i32, &setup);
    let Some(pending) = env.explore.pending.last_mut() else { return Err(Errno::EFAULT.into()) };
    let caller = pending.state.curframe();
    remember_refs(&mut pending.state, &env.kernel.features);
    pending.state.push_frame(callee);
    pending.state.callback_unroll_depth += 1;
    pending.state.frame_mut(caller).callback_depth += 1;
    if env.frame().callback_depth != 0 {
        env.frame_mut().callback_depth = 0;
    }
    Ok(())
}

/// The callback is entered straight from the call, and its return goes on behind it (`__check_func_call`).
fn call_once(env: &mut Env<'_>, insn_idx: u32, subprog: u32, kind: CalleeState) -> Check {
    check_call_depth(env)?;
    let args = match btf_check_subprog_call(env, subprog) {
        Err(Stop::Reject(Errno::EFAULT)) => return Err(Errno::EFAULT.into()),
        Err(stop @ Stop::Unsupported(_)) => return Err(stop),
        other => other,
    };
    let info = &mut env.subprogs[subprog as usize];
    info.is_cb = true;
    if info.is_global {
        return check_global_call(env, subprog, args);
    }
    if summary::is_async_callback_calling_insn(env, insn_idx) {
        return push_async_callback(env, insn_idx, subprog, kind);
    }
    let setup = callee_setup(env, kind, insn_idx)?;
    enter(env, subprog, &setup);
    // The call that returns later leaves its marks on the frame that is current by then.
    for r in CALLER_SAVED {
        env.frame_mut().note_written(At::Reg(r.0));
    }
    Ok(())
}

/// Queues a callback that runs later on its own stack (`push_async_cb`).
fn push_async_callback(env: &mut Env<'_>, insn_idx: u32, subprog: u32, kind: CalleeState) -> Check {
    let info = &mut env.subprogs[subprog as usize];
    info.is_async_cb = true;
    let start = info.start;
    let entries = env.frame().async_entry_cnt;
    push_async_cb(env, start, insn_idx, subprog, kind != CalleeState::Timer)?;
    let setup = callee_setup(env, kind, insn_idx)?;
    let Some(pending) = env.explore.pending.last_mut() else { return Err(Errno::EFAULT.into()) };
    let frame = pending.state.cur_mut();
    frame.async_entry_cnt = entries + 1;
    setup.apply(frame, env.cur.cur());
    Ok(())
}

/// Inside a callback that its caller runs with a lock held: the tree's comparison.
pub fn in_rbtree_lock_required_cb(env: &Env<'_>) -> bool {
    if env.kernel.features.tree_callbacks_nest {
        let callbacks = env.cur.frames().skip(1).filter(|f| f.in_callback_fn && f.callsite >= 0);
        let mut callsites = callbacks.map(|f| f.callsite as u32);
        return callsites.any(|at| summary::is_rbtree_lock_required_call(env, at));
    }
    let frame = env.frame();
    if env.cur.curframe() == 0 || !frame.in_callback_fn || frame.callsite < 0 {
        return false;
    }
    summary::is_rbtree_lock_required_call(env, frame.callsite as u32)
}
