//! Frames and verifier states (`struct bpf_func_state`, `struct bpf_verifier_state`).

use std::rc::Rc;

use bpfassay_isa::Reg;
use bpfassay_spec::Limits;

use super::frames;
use super::marks::Marks;
use super::reg::RegState;
use super::slots::Slots;
use super::stack::StackSlot;

/// Call frames a program may nest (`MAX_CALL_FRAMES`).
pub const MAX_CALL_FRAMES: usize = Limits::MOST.max_call_frames as usize;

/// Inclusive range of a return value (`struct bpf_retval_range`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetvalRange {
    pub min: i32,
    pub max: i32,
}

/// One call frame.  The stack is shared with the states copied from this one
/// until either writes to it.
#[derive(Clone, Debug)]
pub struct FuncState {
    pub regs: [RegState; 11],
    /// Instruction index of the call that entered this frame; -1 (`BPF_MAIN_FUNC`) for none.
    pub callsite: i32,
    pub frameno: u32,
    pub subprogno: u32,
    pub async_entry_cnt: u32,
    pub callback_ret_range: RetvalRange,
    pub in_callback_fn: bool,
    pub in_async_callback_fn: bool,
    pub in_exception_callback_fn: bool,
    pub callback_depth: u32,
    /// Number of the frame among those entered, where reports tell them apart (`diag_frame_id`).
    pub report_id: u32,
    /// Read and write marks, where the kernel keeps them.
    pub marks: Option<Box<Marks>>,
    /// References held when it called the frame that runs, where the kernel keeps them by frame.
    pub refs_at_call: Vec<RefState>,
    /// Slot `spi` covers bytes `[-8 * (spi + 1), -8 * spi)` from the frame pointer.
    pub(super) stack: Slots,
}

impl FuncState {
    pub fn new(callsite: i32, frameno: u32, subprogno: u32) -> FuncState {
        FuncState {
            regs: [RegState::ZEROED; 11],
            callsite,
            frameno,
            subprogno,
            async_entry_cnt: 0,
            callback_ret_range: RetvalRange::default(),
            in_callback_fn: false,
            in_async_callback_fn: false,
            in_exception_callback_fn: false,
            callback_depth: 0,
            report_id: 0,
            marks: None,
            refs_at_call: Vec::new(),
            stack: Slots::default(),
        }
    }

    #[inline]
    pub fn reg(&self, r: Reg) -> &RegState {
        &self.regs[r.index()]
    }

    #[inline]
    pub fn reg_mut(&mut self, r: Reg) -> &mut RegState {
        &mut self.regs[r.index()]
    }

    /// The slots allocated so far.
    #[inline]
    pub fn stack(&self) -> &[StackSlot] {
        &self.stack
    }

    /// Bytes of stack allocated so far, a multiple of 8 (`allocated_stack`).
    #[inline]
    pub fn allocated_stack(&self) -> i32 {
        self.stack.len() as i32 * super::stack::REG_SIZE
    }

    /// All slots, writable; unshares them.
    #[inline]
    pub fn stack_mut(&mut self) -> &mut [StackSlot] {
        self.stack.make_mut()
    }

    /// One slot, writable; unshares the stack.
    #[inline]
    pub fn slot_mut(&mut self, spi: usize) -> &mut StackSlot {
        &mut self.stack.make_mut()[spi]
    }

    /// Makes sure `bytes` (rounded up to 8) are allocated (`grow_stack_state` without its accounting).
    pub fn grow_stack(&mut self, bytes: i32) {
        let want = (bytes.max(0) as usize).div_ceil(8);
        if want > self.stack.len() {
            self.stack.grow(want);
        }
    }

    /// Becomes a copy of `o`, in place.
    pub(super) fn copy_from(&mut self, o: &FuncState) {
        self.regs = o.regs;
        self.callsite = o.callsite;
        self.frameno = o.frameno;
        self.subprogno = o.subprogno;
        self.async_entry_cnt = o.async_entry_cnt;
        self.callback_ret_range = o.callback_ret_range;
        self.in_callback_fn = o.in_callback_fn;
        self.in_async_callback_fn = o.in_async_callback_fn;
        self.in_exception_callback_fn = o.in_exception_callback_fn;
        self.callback_depth = o.callback_depth;
        self.report_id = o.report_id;
        self.marks.clone_from(&o.marks);
        self.refs_at_call.clone_from(&o.refs_at_call);
        self.stack = o.stack.clone();
    }
}

/// What a reference stands for (`enum ref_state_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefKind {
    Ptr,
    Irq,
    Lock,
    ResLock,
    ResLockIrq,
}

/// An acquired reference or held lock (`struct bpf_reference_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefState {
    pub kind: RefKind,
    pub id: u32,
    /// Instruction that acquired it.
    pub insn_idx: u32,
    /// The reference that this one is part of, 0 for none (kernels with `references_by_id`).
    pub parent_id: u32,
    /// Locks: identity of the locked object (map or BTF, as a tagged number).
    pub ptr: u64,
    /// Frame of the callback that acquired it, 0 outside callbacks.
    pub callback: u32,
}

/// Index into the table of explored states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StateId(pub u32);

/// One step of the path from a state's first instruction (`struct bpf_jmp_history_entry`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryEntry {
    pub idx: u32,
    pub prev_idx: u32,
    /// `INSN_F_…` bits: frame in 0..4, spi in 4..10, then the flags below.
    pub flags: u16,
    /// Registers linked at a conditional jump, packed as the kernel does (six 10-bit records and a count).
    pub linked_regs: u64,
}

/// The instruction touched the stack through a PTR_TO_STACK register (`INSN_F_STACK_ACCESS`).
pub const INSN_F_STACK_ACCESS: u16 = 1 << 10;
/// `INSN_F_DST_REG_STACK`.
pub const INSN_F_DST_REG_STACK: u16 = 1 << 11;
/// `INSN_F_SRC_REG_STACK`.
pub const INSN_F_SRC_REG_STACK: u16 = 1 << 12;

/// State of the whole program at one instruction of one path.
#[derive(Clone, Debug)]
pub struct VerifierState {
    /// The frame of the main program, and those called from it, outermost first.
    main: Rc<FuncState>,
    callees: Vec<Rc<FuncState>>,
    pub parent: Option<StateId>,
    pub refs: Vec<RefState>,
    /// Paths from this state that are not done yet; of an explored state, when it was remembered.
    pub branches: u32,
    pub insn_idx: u32,
    pub active_locks: u32,
    pub active_preempt_locks: u32,
    pub active_irq_id: u32,
    pub active_lock_id: u32,
    pub active_lock_ptr: u64,
    pub active_rcu_locks: u32,
    pub speculative: bool,
    pub in_sleepable: bool,
    pub first_insn_idx: u32,
    pub last_insn_idx: u32,
    /// Backedge states: the cached state this one was equal to.
    pub equal_state: Option<StateId>,
    /// Topmost state of the loop that this one is part of, as far as known (before 6.17).
    pub loop_entry: Option<StateId>,
    pub used_as_loop_entry: bool,
    pub history: Vec<HistoryEntry>,
    pub dfs_depth: u32,
    pub callback_unroll_depth: u32,
    pub may_goto_depth: u32,
}

impl VerifierState {
    pub fn new(main: FuncState) -> VerifierState {
        VerifierState {
            main: Rc::new(main),
            callees: Vec::new(),
            parent: None,
            refs: Vec::new(),
            branches: 0,
            insn_idx: 0,
            active_locks: 0,
            active_preempt_locks: 0,
            active_irq_id: 0,
            active_lock_id: 0,
            active_lock_ptr: 0,
            active_rcu_locks: 0,
            speculative: false,
            in_sleepable: false,
            first_insn_idx: 0,
            last_insn_idx: 0,
            equal_state: None,
            loop_entry: None,
            used_as_loop_entry: false,
            history: Vec::new(),
            dfs_depth: 0,
            callback_unroll_depth: 0,
            may_goto_depth: 0,
        }
    }

    /// Index of the innermost frame.
    #[inline]
    pub fn curframe(&self) -> u32 {
        self.callees.len() as u32
    }

    #[inline]
    pub fn frame_count(&self) -> usize {
        self.callees.len() + 1
    }

    #[inline]
    pub fn frame(&self, i: u32) -> &FuncState {
        match i {
            0 => &self.main,
            _ => &self.callees[i as usize - 1],
        }
    }

    /// A frame, writable; unshares it.
    #[inline]
    pub fn frame_mut(&mut self, i: u32) -> &mut FuncState {
        let frame = match i {
            0 => &mut self.main,
            _ => &mut self.callees[i as usize - 1],
        };
        frames::unshare(frame)
    }

    /// The innermost frame.
    #[inline]
    pub fn cur(&self) -> &FuncState {
        self.callees.last().unwrap_or(&self.main)
    }

    #[inline]
    pub fn cur_mut(&mut self) -> &mut FuncState {
        let frame = self.callees.last_mut().unwrap_or(&mut self.main);
        frames::unshare(frame)
    }

    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &FuncState> {
        std::iter::once(&*self.main).chain(self.callees.iter().map(|f| &**f))
    }

    /// Enters a callee; the caller has checked [`MAX_CALL_FRAMES`].
    pub fn push_frame(&mut self, f: FuncState) {
        self.callees.push(Rc::new(f));
    }

    /// Leaves the innermost frame and returns it.
    pub fn pop_frame(&mut self) -> Option<FuncState> {
        let left = self.callees.pop()?;
        Some(Rc::try_unwrap(left).unwrap_or_else(|shared| (*shared).clone()))
    }

    /// Leaves its frames to copies to come.
    pub fn give_back(self) {
        frames::keep(self.main);
        for frame in self.callees {
            frames::keep(frame);
        }
    }

    /// References of pointer kind held (`acquired_refs` counts every kind).
    #[inline]
    pub fn acquired_refs(&self) -> u32 {
        self.refs.len() as u32
    }

    /// Visits every register and every spilled register of every frame, frames outermost
    /// first, registers before slots (`bpf_for_each_reg_in_vstate`: slots whose byte 7 is a spill).
    /// Unshares everything; use [`VerifierState::any_reg`] first where most states need no change.
    pub fn for_each_reg_mut(&mut self, mut f: impl FnMut(u32, &mut RegState)) {
        use super::stack::SlotType;
        let frames = std::iter::once(&mut self.main).chain(&mut self.callees);
        for (i, frame) in frames.enumerate() {
            let frame = frames::unshare(frame);
            for r in frame.regs.iter_mut() {
                f(i as u32, r);
            }
            if frame.stack.iter().any(|s| s.kind[7] == SlotType::Spill) {
                for s in frame.stack.make_mut().iter_mut() {
                    if s.kind[7] == SlotType::Spill {
                        f(i as u32, &mut s.spilled);
                    }
                }
            }
        }
    }

    /// Changes the registers and spilled registers that match, unsharing only the frames and stacks they are in.
    pub fn update_matching(
        &mut self,
        matches: impl Fn(&RegState) -> bool,
        mut f: impl FnMut(&mut RegState),
    ) {
        use super::stack::SlotType;
        let spilled = |s: &StackSlot| s.kind[7] == SlotType::Spill && matches(&s.spilled);
        for frame in std::iter::once(&mut self.main).chain(&mut self.callees) {
            let in_stack = frame.stack.iter().any(spilled);
            if !in_stack && !frame.regs.iter().any(&matches) {
                continue;
            }
            let frame = frames::unshare(frame);
            frame.regs.iter_mut().filter(|r| matches(r)).for_each(&mut f);
            if in_stack {
                let stack = frame.stack.make_mut();
                stack.iter_mut().filter(|s| spilled(s)).for_each(|s| f(&mut s.spilled));
            }
        }
    }

    /// Gives up a pointer reference; false if it is not held (`release_reference_nomark`).  The order of the
    /// rest is kept, because IRQ flags nest.
    pub fn release_ptr_ref(&mut self, id: u32) -> bool {
        let held = self.refs.iter().position(|r| r.kind == RefKind::Ptr && r.id == id);
        if let Some(i) = held {
            self.refs.remove(i);
        }
        held.is_some()
    }

    /// True if any register or spilled register satisfies `p`, in the order of `for_each_reg_mut`.
    pub fn any_reg(&self, mut p: impl FnMut(u32, &RegState) -> bool) -> bool {
        use super::stack::SlotType;
        self.frames().enumerate().any(|(i, frame)| {
            frame.regs.iter().any(|r| p(i as u32, r))
                || frame
                    .stack
                    .iter()
                    .any(|s| s.kind[7] == SlotType::Spill && p(i as u32, &s.spilled))
        })
    }
}
