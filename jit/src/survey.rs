//! The walks before the walk: every slot checked, and what is read later.
//!
//! Forward, it checks fields and registers and marks what is jumped to and what is a function.  Backward, it
//! finds which registers, and which halves of them, are read later.  A set holds a bit for the lower
//! half of each register and, 16 places higher, one for the upper half; operations whose lower half
//! does not depend on the upper half of what goes in pass only what is asked of them.
//! With loops the last is repeated until nothing changes; a program so tangled that this takes
//! long gets the answer in which jumps backward read everything.
//!
//! Two loops of few live values: one that does both keeps half of them in memory.

use std::cell::Cell;

use bpfassay_isa::opcode::{self, Callee, Form, Names, Reach, Wide};
use bpfassay_isa::{decode, AtomicOp, RawInsn, Reg};

use crate::facts::{both, Facts, Set};
use crate::facts::{ALWAYS, BRANCHES, CALLS, COUNTS, REFERS, SPECIAL};
use crate::source::JitError;
use crate::target::FuncFacts;

/// Jumped to.
pub const TARGET: u8 = 1;
/// First slot of a function.
pub const FUNC: u8 = 2;
/// Jumped to from behind.
pub const LOOP: u8 = 4;
/// Second slot of a wide instruction.
pub const TAIL: u8 = 8;

const ALL: Set = 0x07ff_07ff;
const ARGS: Set = 0x003e_003e;
pub const CALLER_SAVED: Set = 0x003f_003f;

/// What is known of a slot; cells, because a walk over the slots notes things about others.
#[derive(Clone, Default, Debug)]
pub struct Slot {
    /// Registers read after it.
    after: Cell<Set>,
    /// Registers read at it or after it.
    before: Cell<Set>,
    /// Row of its encoding.
    row: Cell<u8>,
    flags: Cell<u8>,
    /// Not 0 if it may become one with what follows.
    fuse: Cell<u8>,
    /// Nothing; without a hole many are made at once.
    _whole: u8,
}

impl Slot {
    #[inline(always)]
    pub fn after(&self) -> Set {
        self.after.get()
    }

    #[inline(always)]
    pub fn row(&self) -> u8 {
        self.row.get()
    }

    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.flags.get()
    }

    #[inline(always)]
    pub fn may_fuse(&self) -> bool {
        self.fuse.get() != 0
    }

    /// True if it is nothing but an instruction.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.flags.get() | self.fuse.get() == 0
    }

    #[inline(always)]
    fn mark(&self, flags: u8) {
        self.flags.set(self.flags.get() | flags);
    }
}

/// Slot a distance from `slot`; beyond any program where that is before its begin.
#[inline(always)]
fn reached(slot: usize, off: i32) -> usize {
    (slot as i64 + 1 + off as i64) as usize
}

/// Slot reached from `slot` by a distance, if the program has it.
#[inline]
pub fn target(slot: usize, off: i32, len: usize) -> Option<usize> {
    Some(reached(slot, off)).filter(|to| *to < len)
}

/// What is read at or after an instruction, given what is read after it.
#[inline(always)]
fn before(f: &Facts, raw: &RawInsn, after: Set) -> Set {
    if f.flags & SPECIAL != 0 {
        return before_special(f, raw, after);
    }
    f.before(raw, after)
}

#[inline(never)]
fn before_special(f: &Facts, raw: &RawInsn, after: Set) -> Set {
    let reads = f.reads(raw);
    let (r0, r6) = (both(Reg::R0.0), both(Reg::R6.0));
    match f.form {
        // The comparand is read at the width of the operand.
        Form::Atomic(AtomicOp::Cmpxchg, ..) => {
            let compared = f.reads(&RawInsn { src: 0, ..*raw }) & r0;
            (after & !r0) | reads | compared
        }
        Form::Atomic(..) => (after & !both(raw.src)) | reads,
        Form::LoadPacket(..) => (after & !CALLER_SAVED) | r6 | reads,
        Form::Call(_) | Form::CallReg => (after & !CALLER_SAVED) | ARGS | reads,
        Form::Exit => r0,
        _ => ALL,
    }
}

/// What is read after an instruction, when `next` is read behind it.
#[inline(always)]
fn after(slots: &[Slot], slot: usize, one: &RawInsn, f: &Facts, next: Set) -> Set {
    let (off, falls) = match f.form {
        _ if f.flags & BRANCHES != 0 => (one.off as i32, f.flags & ALWAYS == 0),
        Form::Jump(Reach::Long) => (one.imm, false),
        _ => return next,
    };
    slots.get(reached(slot, off)).map_or(0, |s| s.before.get()) | if falls { next } else { 0 }
}

const CALLEE_SAVED: u16 = 0x3c0;

/// What the walk forward finds, beside the flags of slots.
#[derive(Default)]
struct Found {
    /// Slot that is the second of a wide instruction, the latest; 0 for none.
    tail: Cell<usize>,
    has_loop: Cell<bool>,
    /// Functions beside the first.
    more_funcs: Cell<bool>,
    /// Slot 0 is not only entered from outside.
    calls_first: Cell<bool>,
}

/// Checks every slot and marks what is named.
#[inline(never)]
fn forward(raw: &[RawInsn], slots: &[Slot], found: &Found) -> Result<(), JitError> {
    for (slot, (one, known)) in raw.iter().zip(slots).enumerate() {
        let (row, names) = match opcode::plain_number(one) {
            Some(plain) => plain,
            None => found.rare(raw, slot)?,
        };
        known.row.set(row);
        match names {
            Names::Nothing => {}
            Names::ByOff => found.mark(slots, slot, one.off as i32, TARGET)?,
            Names::Otherwise => found.refer(raw, slots, slot)?,
        }
    }
    Ok(())
}

fn row(raw: &[RawInsn], slot: usize) -> Result<u8, JitError> {
    let one = raw.get(slot).copied().unwrap_or_default();
    let row = decode::number(&one, raw.get(slot + 1));
    row.map_err(|why| JitError::Decode { slot: slot as u32, why })
}

impl Found {
    /// Row of what is not the first encoding of its code.
    #[inline(never)]
    fn rare(&self, raw: &[RawInsn], slot: usize) -> Result<(u8, Names), JitError> {
        if slot == self.tail.get() && slot > 0 {
            return Ok((Facts::NOTHING, Names::Nothing));
        }
        let row = row(raw, slot)?;
        match raw.get(slot) {
            Some(one) if Reg(one.dst).is_valid() && Reg(one.src).is_valid() => {
                Ok((row, Facts::of(row).form.names()))
            }
            _ => Err(JitError::Register { slot: slot as u32 }),
        }
    }

    /// Marks the slot at this distance.
    #[inline(always)]
    fn mark(&self, slots: &[Slot], slot: usize, off: i32, mark: u8) -> Result<(), JitError> {
        let to = reached(slot, off);
        let known = slots.get(to).ok_or(JitError::Target { slot: slot as u32 })?;
        if mark == TARGET && to <= slot {
            known.mark(LOOP);
            self.has_loop.set(true);
        }
        known.mark(mark);
        Ok(())
    }

    /// As [`Found::mark`], for what is rare.
    #[inline(never)]
    fn refer(&self, raw: &[RawInsn], slots: &[Slot], slot: usize) -> Result<(), JitError> {
        let (Some(one), Some(known)) = (raw.get(slot), slots.get(slot)) else { return Ok(()) };
        let form = Facts::of(known.row()).form;
        if matches!(form, Form::LoadImm64(_)) {
            row(raw, slot)?;
            self.tail.set(slot + 1);
            if let Some(tail) = slots.get(slot + 1) {
                tail.mark(TAIL);
            }
        }
        match form {
            Form::Jump(Reach::Long) => self.mark(slots, slot, one.imm, TARGET)?,
            Form::JumpReg => return Err(JitError::JumpReg { slot: slot as u32 }),
            Form::LoadImm64(Wide::Func) | Form::Call(Callee::Subprog) => {
                self.mark(slots, slot, one.imm, FUNC)?;
                let is_first = reached(slot, one.imm) == 0;
                if is_first { &self.calls_first } else { &self.more_funcs }.set(true);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Finds what is read after every slot, as far as nothing jumps backward; gives what the program
/// as a whole touches.
#[inline(never)]
fn backward(raw: &[RawInsn], slots: &[Slot]) -> Touched {
    let mut touched = Touched::default();
    // What is read from the slot after on, and what that may go on with; behind the end nothing.
    let (mut next, mut then) = (0, 0);
    for (slot, (one, known)) in raw.iter().zip(slots).enumerate().rev() {
        let f = Facts::of(known.row());
        known.fuse.set(f.may_fuse(then));
        then = f.closes;
        if f.flags & (BRANCHES | REFERS) != 0 {
            next = after(slots, slot, one, f, next);
            touched.flags |= f.flags;
        }
        known.after.set(next);
        touched.written |= f.writes(one);
        next = if f.flags & SPECIAL == 0 {
            f.before(one, next)
        } else {
            touched.special(f, one);
            before_special(f, one, next)
        };
        known.before.set(next);
    }
    touched
}

/// What is known of each slot, and the functions in ascending order.
pub fn survey(raw: &[RawInsn], functions: &[u32]) -> Result<(Vec<Slot>, Vec<FuncFacts>), JitError> {
    let slots = vec![Slot::default(); raw.len()];
    let found = Found::default();
    if let Some(first) = slots.first() {
        first.mark(FUNC);
    }
    for slot in functions {
        let known = slots.get(*slot as usize).ok_or(JitError::Target { slot: *slot })?;
        known.mark(FUNC);
        found.more_funcs.set(true);
    }
    forward(raw, &slots, &found)?;
    // Nobody may land inside a wide instruction.
    let inside = |s: &Slot| s.flags() & TAIL != 0 && s.flags() & (TARGET | FUNC) != 0;
    if found.tail.get() != 0 {
        if let Some(slot) = slots.iter().position(inside) {
            return Err(JitError::Target { slot: slot as u32 });
        }
    }
    let touched = backward(raw, &slots);
    if found.has_loop.get() {
        settle(raw, &slots);
    }
    let mut funcs = match found.more_funcs.get() {
        true => functions_of(raw, &slots),
        false => slots.first().map(|first| function(0, first, touched)).into_iter().collect(),
    };
    if let Some(first) = funcs.first_mut() {
        first.is_entry = !found.calls_first.get();
    }
    Ok((slots, funcs))
}

/// What the instructions of a function, or of a program that is one, touch.
#[derive(Clone, Copy, Default)]
struct Touched {
    written: Set,
    flags: u16,
}

impl Touched {
    fn add(&mut self, f: &Facts, raw: &RawInsn) {
        self.written |= f.writes(raw);
        self.flags |= f.flags;
        if f.flags & SPECIAL != 0 {
            self.special(f, raw);
        }
    }

    /// What a special instruction touches besides.
    fn special(&mut self, f: &Facts, raw: &RawInsn) {
        self.flags |= f.flags;
        if matches!(f.form, Form::Atomic(..)) {
            self.written |= both(raw.src);
        }
    }
}

/// Walks backward repeated at most.
const MOST_ROUNDS: u32 = 6;

/// Repeats what the walk backward found of registers until jumps backward have their say.
fn settle(raw: &[RawInsn], slots: &[Slot]) {
    for _ in 1..MOST_ROUNDS {
        if !round(raw, slots) {
            return;
        }
    }
    slots.iter().for_each(|s| s.before.set(ALL));
    round(raw, slots);
}

/// True if anything changed.
fn round(raw: &[RawInsn], slots: &[Slot]) -> bool {
    let mut next = 0;
    let mut changed = false;
    for (slot, (one, known)) in raw.iter().zip(slots).enumerate().rev() {
        let f = Facts::of(known.row());
        let read = after(slots, slot, one, f, next);
        next = before(f, one, read);
        changed |= known.before.replace(next) != next;
        changed |= known.after.replace(read) != read;
    }
    changed
}

/// The functions of a program that has several.
fn functions_of(raw: &[RawInsn], slots: &[Slot]) -> Vec<FuncFacts> {
    let mut funcs = Vec::new();
    let mut touched = Touched::default();
    for (slot, (one, known)) in raw.iter().zip(slots).enumerate().rev() {
        touched.add(Facts::of(known.row()), one);
        if known.flags() & FUNC != 0 {
            funcs.push(function(slot, known, std::mem::take(&mut touched)));
        }
    }
    funcs.reverse();
    funcs
}

fn function(slot: usize, first: &Slot, touched: Touched) -> FuncFacts {
    FuncFacts {
        slot: slot as u32,
        writes: touched.written as u16 & CALLEE_SAVED,
        uses_fp: first.before.get() & both(Reg::R10.0) != 0,
        calls: touched.flags & CALLS != 0,
        counts: touched.flags & COUNTS != 0,
        ..FuncFacts::default()
    }
}
