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

use bpfassay_isa::opcode::{self, Callee, Form, Reach, Wide};
use bpfassay_isa::{decode, AtomicOp, RawInsn, Reg};

use crate::facts::{both, Facts, Set, LOW};
use crate::facts::{ALWAYS, BRANCHES, CALLS, COUNTS, LOW_IF_SHORT, REFERS, SPECIAL};
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
pub const CALLER_SAVED: Set = 0x003f_003f;

/// What is known of a slot.
#[derive(Clone, Copy, Default, Debug)]
pub struct Slot {
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

/// What is read after an instruction, when `next` is read behind it and `at` at or after each slot.
#[inline(always)]
fn after(at: &[Set], slot: usize, one: &RawInsn, f: &Facts, next: Set) -> Set {
    let (off, falls) = match f.form {
        _ if f.flags & BRANCHES != 0 => (one.off as i32, f.flags & ALWAYS == 0),
        Form::Jump(Reach::Long) => (one.imm, false),
        _ => return next,
    };
    let to = (slot as i64 + 1 + off as i64) as usize;
    at.get(to).copied().unwrap_or(0) | if falls { next } else { 0 }
}

const CALLEE_SAVED: u16 = 0x3c0;

/// What the walks find.
struct Look<'a> {
    raw: &'a [RawInsn],
    slots: Vec<Slot>,
    /// Flags of slots, as long as any may still be marked.
    marks: Vec<u8>,
    /// Registers read at or after each slot.
    before: Vec<Set>,
    /// Slot that is the second of a wide instruction.
    tail: usize,
    has_loop: bool,
    /// Functions beside the first.
    more_funcs: bool,
    /// Slot 0 is not only entered from outside.
    calls_first: bool,
}

/// What is known of each slot, and the functions in ascending order.
pub fn survey(raw: &[RawInsn], functions: &[u32]) -> Result<(Vec<Slot>, Vec<FuncFacts>), JitError> {
    let mut look = Look {
        raw,
        slots: vec![Slot::default(); raw.len()],
        marks: vec![0; raw.len()],
        before: vec![0; raw.len()],
        tail: 0,
        has_loop: false,
        more_funcs: false,
        calls_first: false,
    };
    if let Some(first) = look.marks.first_mut() {
        *first = FUNC;
    }
    for slot in functions {
        let mark = look.marks.get_mut(*slot as usize).ok_or(JitError::Target { slot: *slot })?;
        *mark |= FUNC;
        look.more_funcs = true;
    }
    look.forward()?;
    // Nobody may land inside a wide instruction.
    let inside = |f: &u8| f & TAIL != 0 && f & (TARGET | FUNC) != 0;
    if look.tail != 0 {
        if let Some(slot) = look.marks.iter().position(inside) {
            return Err(JitError::Target { slot: slot as u32 });
        }
    }
    let touched = look.backward();
    if look.has_loop {
        look.settle();
    }
    let funcs = match look.more_funcs {
        true => look.functions(),
        false if raw.is_empty() => Vec::new(),
        false => vec![look.function(0, touched)],
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
    }

    /// What a special instruction writes besides.
    fn fetched(&mut self, f: &Facts, raw: &RawInsn) {
        if f.flags & SPECIAL != 0 && matches!(f.form, Form::Atomic(..)) {
            self.written |= both(raw.src);
        }
    }
}

/// Walks backward repeated at most.
const MOST_ROUNDS: u32 = 6;

impl Look<'_> {
    /// Checks every slot and marks what is named.
    fn forward(&mut self) -> Result<(), JitError> {
        let mut slots = std::mem::take(&mut self.slots);
        for (slot, (one, known)) in self.raw.iter().zip(&mut slots).enumerate() {
            let row = match opcode::plain_number(one) {
                Some(row) => row,
                None => self.rare_row(slot, one)?,
            };
            known.row = row;
            if one.dst > 10 || one.src > 10 {
                return Err(JitError::Register { slot: slot as u32 });
            }
            let flags = Facts::of(row).flags;
            if flags & (BRANCHES | REFERS) != 0 {
                if flags & BRANCHES != 0 {
                    self.mark(slot, one.off as i32, TARGET)?;
                } else {
                    self.refer(slot, one, Facts::of(row).form)?;
                }
            }
        }
        self.slots = slots;
        Ok(())
    }

    /// Row of what is not the first encoding of its code.
    #[inline(never)]
    fn rare_row(&mut self, slot: usize, one: &RawInsn) -> Result<u8, JitError> {
        if slot == self.tail && slot > 0 {
            return Ok(Facts::NOTHING);
        }
        self.checked_row(slot, one)
    }

    fn checked_row(&self, slot: usize, one: &RawInsn) -> Result<u8, JitError> {
        let row = decode::number(one, self.raw.get(slot + 1));
        row.map_err(|why| JitError::Decode { slot: slot as u32, why })
    }

    /// Marks the slot at this distance.
    #[inline(always)]
    fn mark(&mut self, slot: usize, off: i32, mark: u8) -> Result<(), JitError> {
        let to = (slot as i64 + 1 + off as i64) as usize;
        let known = self.marks.get_mut(to).ok_or(JitError::Target { slot: slot as u32 })?;
        let back = mark == TARGET && to <= slot;
        *known |= mark | if back { LOOP } else { 0 };
        self.has_loop |= back;
        Ok(())
    }

    /// As [`Look::mark`], for what is rare.
    #[inline(never)]
    fn refer(&mut self, slot: usize, one: &RawInsn, form: Form) -> Result<(), JitError> {
        if matches!(form, Form::LoadImm64(_)) {
            self.checked_row(slot, one)?;
            self.tail = slot + 1;
            if let Some(tail) = self.marks.get_mut(slot + 1) {
                *tail |= TAIL;
            }
        }
        match form {
            Form::Jump(Reach::Long) => self.mark(slot, one.imm, TARGET)?,
            Form::LoadImm64(Wide::Func) | Form::Call(Callee::Subprog) => {
                self.mark(slot, one.imm, FUNC)?;
                let first = slot as i64 + 1 + one.imm as i64 == 0;
                self.calls_first |= first;
                self.more_funcs |= !first;
            }
            _ => {}
        }
        Ok(())
    }

    /// Finds what is read after every slot, as far as nothing jumps backward; gives what the program
    /// as a whole touches.
    fn backward(&mut self) -> Touched {
        let mut touched = Touched::default();
        // What is read from the slot after on, and what that may go on with; behind the end nothing.
        let (mut next, mut then) = (0, 0);
        let at = self.raw.iter().zip(&mut self.slots).zip(&self.marks);
        for (slot, ((one, known), marks)) in at.enumerate().rev() {
            let f = Facts::of(known.row);
            known.flags = marks | if f.may_fuse(then) { FUSE } else { 0 };
            then = f.closes();
            if f.flags & (BRANCHES | REFERS) != 0 {
                next = after(&self.before, slot, one, f, next);
            }
            known.after = next;
            touched.add(f, one);
            next = if f.flags & SPECIAL == 0 {
                f.before(one, next)
            } else {
                touched.fetched(f, one);
                before_special(f, one, next)
            };
            if let Some(b) = self.before.get_mut(slot) {
                *b = next;
            }
        }
        touched
    }

    /// Repeats what the walk backward found of registers until jumps backward have their say.
    fn settle(&mut self) {
        for _ in 1..MOST_ROUNDS {
            if !self.round() {
                return;
            }
        }
        self.before.fill(ALL);
        self.round();
    }

    /// True if anything changed.
    fn round(&mut self) -> bool {
        let mut next = 0;
        let mut changed = false;
        for (slot, (one, known)) in self.raw.iter().zip(&mut self.slots).enumerate().rev() {
            let f = Facts::of(known.row);
            let read = after(&self.before, slot, one, f, next);
            next = before(f, one, read);
            if let Some(b) = self.before.get_mut(slot) {
                changed |= *b != next || known.after != read;
                *b = next;
            }
            known.after = read;
        }
        changed
    }

    /// The functions of a program that has several.
    fn functions(&self) -> Vec<FuncFacts> {
        let mut funcs = Vec::new();
        let mut touched = Touched::default();
        for (slot, (one, s)) in self.raw.iter().zip(&self.slots).enumerate().rev() {
            touched.add(Facts::of(s.row), one);
            touched.fetched(Facts::of(s.row), one);
            if s.flags & FUNC != 0 {
                funcs.push(self.function(slot, std::mem::take(&mut touched)));
            }
        }
        funcs.reverse();
        funcs
    }

    fn function(&self, slot: usize, touched: Touched) -> FuncFacts {
        let read = self.before.get(slot).copied().unwrap_or(ALL);
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
