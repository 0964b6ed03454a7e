//! The walk before the walk: backward over the program once, looking at every slot.
//!
//! It checks fields and registers, marks what is jumped to and what is a function, and
//! finds which registers, and which halves of them, are read later.  A set holds a bit for the lower
//! half of each register and, 16 places higher, one for the upper half; operations whose lower half
//! does not depend on the upper half of what goes in pass only what is asked of them.
//! With loops the last is repeated until nothing changes; a program so tangled that this takes
//! long gets the answer in which jumps backward read everything.

use bpfassay_isa::opcode::{self, Callee, Form, Reach, Wide};
use bpfassay_isa::{decode, AtomicOp, RawInsn, Reg};

use crate::facts::{both, Facts, Set, CALLS, COUNTS, FETCHES, LOW, LOW_IF_SHORT, REFERS, SPECIAL};
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
/// May become one with what follows.
pub const FUSE: u8 = 16;

const ALL: Set = 0x07ff_07ff;
const ARGS: Set = 0x003e_003e;
const CALLER_SAVED: Set = 0x003f_003f;

/// What is known of a slot.
#[derive(Clone, Copy, Default, Debug)]
pub struct Slot {
    /// Registers read at or after it.
    before: Set,
    /// Registers read after it.
    pub after: Set,
    /// Row of its encoding.
    pub row: u8,
    pub flags: u8,
}

/// Slot reached from `slot` by a distance, if the program has it.
#[inline]
pub fn target(slot: usize, off: i32, len: usize) -> Option<usize> {
    let to = slot as i64 + 1 + off as i64;
    usize::try_from(to).ok().filter(|t| *t < len)
}

/// The slot an instruction names, as a distance, and what it becomes thereby.
#[inline(always)]
fn reference(form: Form, raw: &RawInsn) -> Option<(i32, u8)> {
    match form {
        Form::CondJump(..) | Form::MayGoto | Form::Jump(Reach::Short) => {
            Some((raw.off as i32, TARGET))
        }
        Form::Jump(Reach::Long) => Some((raw.imm, TARGET)),
        Form::Call(Callee::Subprog) | Form::LoadImm64(Wide::Func) => Some((raw.imm, FUNC)),
        _ => None,
    }
}

/// What is read after a jump to `to`, or a call, when `next` is read behind it.
#[inline(always)]
fn after_jump(form: Form, next: Set, there: Set) -> Set {
    match form {
        Form::Jump(_) => there,
        Form::CondJump(..) | Form::MayGoto => next | there,
        _ => next,
    }
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
        Form::Alu(..) => {
            let narrow = f.flags & LOW_IF_SHORT != 0 && raw.imm & 63 < 32;
            let wanted = after & f.writes(raw);
            let low = if narrow && wanted <= LOW { LOW } else { !0 };
            (after & !wanted) | if wanted == 0 { 0 } else { reads & low }
        }
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

const CALLEE_SAVED: u16 = 0x3c0;

/// The walk, and what it finds besides the slots.
struct Look<'a> {
    raw: &'a [RawInsn],
    slots: Vec<Slot>,
    has_loop: bool,
    has_wide: bool,
    /// Functions beside the first.
    more_funcs: bool,
    /// Slot 0 is not only entered from outside.
    calls_first: bool,
    /// What is wrong with the lowest slot that is wrong.
    wrong: Option<JitError>,
}

/// What is known of each slot, and the functions in ascending order.
pub fn survey(raw: &[RawInsn], functions: &[u32]) -> Result<(Vec<Slot>, Vec<FuncFacts>), JitError> {
    let mut look = Look {
        raw,
        slots: vec![Slot::default(); raw.len()],
        has_loop: false,
        has_wide: false,
        more_funcs: false,
        calls_first: false,
        wrong: None,
    };
    for slot in functions {
        let known = look.slots.get_mut(*slot as usize).ok_or(JitError::Target { slot: *slot })?;
        known.flags |= FUNC;
        look.more_funcs = true;
    }
    let touched = look.first_round();
    if let Some(why) = look.wrong {
        return Err(why);
    }
    // Nobody may land inside a wide instruction.
    let inside = |s: &Slot| s.flags & TAIL != 0 && s.flags & (TARGET | FUNC) != 0;
    if look.has_wide {
        if let Some(slot) = look.slots.iter().position(inside) {
            return Err(JitError::Target { slot: slot as u32 });
        }
    }
    if look.has_loop {
        look.settle();
    }
    let funcs = match look.slots.first_mut() {
        None => Vec::new(),
        Some(first) => {
            first.flags |= FUNC;
            if look.more_funcs {
                look.functions()
            } else {
                vec![look.function(0, touched)]
            }
        }
    };
    Ok((look.slots, funcs))
}

/// What the instructions of a function, or of a program that is one, touch.
#[derive(Clone, Copy, Default)]
struct Touched {
    written: Set,
    flags: u16,
}

impl Touched {
    #[inline(always)]
    fn add(&mut self, f: &Facts, raw: &RawInsn) {
        self.written |= f.writes(raw);
        self.flags |= f.flags;
        if f.flags & FETCHES != 0 {
            self.written |= both(raw.src);
        }
    }
}

/// Walks repeated at most.
const MOST_ROUNDS: u32 = 6;

impl Look<'_> {
    /// Looks at every slot; gives what the program as a whole touches.
    fn first_round(&mut self) -> Touched {
        let raw = self.raw;
        let mut touched = Touched::default();
        // What is read from the slot after on, and what that may go on with; behind the end nothing.
        let mut next = 0;
        let mut then = 0;
        let mut slot = raw.len();
        while let Some(one) = slot.checked_sub(1).and_then(|s| raw.get(s)) {
            slot -= 1;
            let row = match opcode::plain_number(one) {
                Some(row) => row,
                None => match self.rare_row(slot, one) {
                    Some(row) => row,
                    None => {
                        then = 0;
                        continue;
                    }
                },
            };
            if one.dst > 10 || one.src > 10 {
                self.wrong = Some(JitError::Register { slot: slot as u32 });
            }
            let f = Facts::of(row);
            let after = if f.flags & REFERS != 0 { self.refer(slot, one, f, next) } else { next };
            touched.add(f, one);
            next = before(f, one, after);
            if let Some(s) = self.slots.get_mut(slot) {
                s.before = next;
                s.after = after;
                s.row = row;
                s.flags |= if f.may_fuse(then) { FUSE } else { 0 };
            }
            then = f.closes();
        }
        touched
    }

    /// Row of what is not the first encoding of its code; None for second slots and what is wrong.
    #[inline(never)]
    fn rare_row(&mut self, slot: usize, one: &RawInsn) -> Option<u8> {
        let before = slot.checked_sub(1).and_then(|before| self.raw.get(before));
        if one.code == 0 && before.is_some_and(|b| b.is_ld_imm64()) {
            // The first slot sees to what this one holds.
            if let Some(s) = self.slots.get_mut(slot) {
                s.flags |= TAIL;
            }
            return None;
        }
        self.checked_row(slot, one)
    }

    fn checked_row(&mut self, slot: usize, one: &RawInsn) -> Option<u8> {
        let row = decode::number(one, self.raw.get(slot + 1));
        row.map_err(|why| self.wrong = Some(JitError::Decode { slot: slot as u32, why })).ok()
    }

    /// Marks the slot an instruction names; gives what is read after the instruction, as far as it is known.
    #[inline(never)]
    fn refer(&mut self, slot: usize, one: &RawInsn, f: &Facts, next: Set) -> Set {
        if matches!(f.form, Form::LoadImm64(_)) {
            self.has_wide = true;
            if self.checked_row(slot, one).is_none() {
                return next;
            }
        }
        let Some((off, mark)) = reference(f.form, one) else { return next };
        let to = target(slot, off, self.raw.len());
        let Some((to, known)) = to.and_then(|to| Some((to, self.slots.get_mut(to)?))) else {
            self.wrong = Some(JitError::Target { slot: slot as u32 });
            return next;
        };
        known.flags |= mark;
        if mark == TARGET {
            if to <= slot {
                known.flags |= LOOP;
                self.has_loop = true;
            }
            return after_jump(f.form, next, known.before);
        }
        self.more_funcs |= to > 0;
        self.calls_first |= to == 0;
        next
    }

    /// Repeats what the first round found of registers until jumps backward have their say.
    fn settle(&mut self) {
        for _ in 1..MOST_ROUNDS {
            if !self.round() {
                return;
            }
        }
        for s in &mut self.slots {
            s.before = ALL;
        }
        self.round();
    }

    /// True if anything changed.
    fn round(&mut self) -> bool {
        let len = self.raw.len();
        let mut next = 0;
        let mut changed = false;
        for (slot, one) in self.raw.iter().enumerate().rev() {
            let Some(s) = self.slots.get(slot).filter(|s| s.flags & TAIL == 0) else { continue };
            let f = Facts::of(s.row);
            let mut after = next;
            if f.flags & REFERS != 0 {
                let to = reference(f.form, one).and_then(|(off, _)| target(slot, off, len));
                let there = to.and_then(|to| self.slots.get(to)).map_or(0, |t| t.before);
                after = after_jump(f.form, next, there);
            }
            next = before(f, one, after);
            if let Some(s) = self.slots.get_mut(slot) {
                changed |= s.before != next || s.after != after;
                s.before = next;
                s.after = after;
            }
        }
        changed
    }

    /// The functions of a program that has several.
    fn functions(&self) -> Vec<FuncFacts> {
        let mut funcs = Vec::new();
        let mut touched = Touched::default();
        for (slot, (one, s)) in self.raw.iter().zip(&self.slots).enumerate().rev() {
            if s.flags & TAIL == 0 {
                touched.add(Facts::of(s.row), one);
            }
            if s.flags & FUNC != 0 {
                funcs.push(self.function(slot, std::mem::take(&mut touched)));
            }
        }
        funcs.reverse();
        funcs
    }

    fn function(&self, slot: usize, touched: Touched) -> FuncFacts {
        let read = self.slots.get(slot).map_or(ALL, |s| s.before);
        FuncFacts {
            slot: slot as u32,
            is_entry: slot == 0 && !self.calls_first,
            writes: touched.written as u16 & CALLEE_SAVED,
            uses_fp: read & both(Reg::R10.0) != 0,
            calls: touched.flags & CALLS != 0,
            counts: touched.flags & COUNTS != 0,
            ..FuncFacts::default()
        }
    }
}
