//! A value followed backwards along the path: by frame, through calls, returns, spills, fills and
//! helpers' writes, to where it was made.

use std::collections::BTreeMap;

use super::calls;
use super::insn::{Op, Reg};
use super::trace::Trace;
use super::value::Value;

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Reg(u8, Reg),
    /// Frame, and offset from its top.
    Slot(u8, i32),
}

impl Place {
    pub fn frame(self) -> u8 {
        match self {
            Place::Reg(frame, _) | Place::Slot(frame, _) => frame,
        }
    }

    /// As states print it.
    pub fn name(self) -> String {
        match self {
            Place::Reg(_, r) => format!("R{r}"),
            Place::Slot(_, off) => format!("fp{}", slot_of(off)),
        }
    }
}

/// The slot that holds the byte at an offset.
fn slot_of(off: i32) -> i32 {
    off.div_euclid(8) * 8
}

/// What an instruction did to the value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// Copied from another register.
    Copied,
    /// Copied in fewer than 64 bits.
    Truncated,
    /// Computed from itself.
    Changed,
    /// A branch looked at it.
    Compared,
    /// Read back from the stack.
    Filled,
    /// Saved on the stack.
    Spilled,
    /// Handed to a function of the program, or back.
    Passed,
    Returned,
    /// Made: a constant, a load, a call's result, a helper's write.
    Constant,
    Loaded,
    Called,
    Written,
    /// A call left it without a value.
    Clobbered,
    /// A call took its meaning: it was a pointer before.
    Invalidated,
    /// Part of it was overwritten.
    Overwritten,
}

impl What {
    /// The word in the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Copied => "copied",
            What::Truncated => "truncated",
            What::Changed => "changed",
            What::Compared => "compared",
            What::Filled => "filled",
            What::Spilled => "spilled",
            What::Passed => "passed",
            What::Returned => "returned",
            What::Constant => "constant",
            What::Loaded => "loaded",
            What::Called => "called",
            What::Written => "written",
            What::Clobbered => "clobbered",
            What::Invalidated => "invalidated",
            What::Overwritten => "overwritten",
        }
    }

    /// True if the value did not exist before.
    pub fn is_origin(self) -> bool {
        use What::{Called, Clobbered, Constant, Invalidated, Loaded, Overwritten, Written};
        matches!(self, Constant | Loaded | Called | Written | Clobbered | Invalidated | Overwritten)
    }
}

/// One step of a value's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Position in the trace.
    pub at: usize,
    pub what: What,
    /// Where the value stood after it.
    pub place: Place,
    /// A register that was added or compared.
    pub other: Option<Reg>,
    /// How often the instruction did so on the path.
    pub times: u32,
}

/// Follows `place` back from before position `at`.  Oldest first.
///
/// `scalar`: the verifier took the value for a number, so a pointer met on the way was invalidated.
pub fn follow(trace: &Trace<'_>, at: usize, place: Place, scalar: bool) -> Vec<Event> {
    let mut walk = Walk { trace, place, scalar, events: Vec::new(), calls: Vec::new() };
    let mut i = at;
    while i > 0 {
        i -= 1;
        if trace.is_validation(i) || walk.step(i) {
            break;
        }
    }
    let mut events = walk.events;
    events.reverse();
    shorten(trace, events)
}

struct Walk<'t, 'a> {
    trace: &'t Trace<'a>,
    place: Place,
    scalar: bool,
    events: Vec<Event>,
    /// Calls passed since the value was last written, nearest to the end first.
    calls: Vec<usize>,
}

impl Walk<'_, '_> {
    /// One position back; true at the origin.
    fn step(&mut self, i: usize) -> bool {
        if self.scalar && self.was_pointer(i) {
            return true;
        }
        if !self.trace.is_insn(i) {
            return false;
        }
        let Some(text) = self.trace.line(i).insn_text else { return false };
        let Some(op) = Op::parse(text) else { return false };
        let (frame, own) = (self.trace.frame(i), self.place.frame());
        match (&op, self.place) {
            (Op::Exit, Place::Reg(_, r)) if Some(frame) == own.checked_add(1) && r <= 5 => {
                self.returned(i, r)
            }
            (Op::Call(target), place) if frame.checked_add(1) == Some(own) => {
                self.passed(i, target, place)
            }
            _ if frame == own => self.same_frame(i, &op),
            (Op::Store { base, offset, size, from }, Place::Slot(..)) if *base != 10 => {
                self.store(i, *base, *offset, *size, *from)
            }
            (Op::Call(target), Place::Slot(..)) => self.called(i, target),
            (Op::Call(_), Place::Reg(..)) if frame > own => {
                self.calls.push(i);
                false
            }
            _ => false,
        }
    }

    fn push(&mut self, at: usize, what: What) -> &mut Event {
        self.events.push(Event { at, what, place: self.place, other: None, times: 1 });
        self.calls.clear();
        self.events.last_mut().expect("just pushed")
    }

    /// The state printed here still has a pointer in the place: what came after took it.
    fn was_pointer(&mut self, i: usize) -> bool {
        let trace = self.trace;
        if trace.frame(i) != self.place.frame() {
            return false;
        }
        let Some(text) = trace.value_at(i, &self.place.name()) else { return false };
        let value = Value::parse(&text);
        let slot = matches!(self.place, Place::Slot(..));
        if !value.is_pointer() || slot && is_slot_types(&text) || value.kind.contains("or_null") {
            return false;
        }
        let name = |c: &usize| match trace.line(*c).insn_text.and_then(Op::parse) {
            Some(Op::Call(target)) => calls::name(target).to_string(),
            _ => String::new(),
        };
        // The first such call after the state: later ones found a number already.  A function of
        // the program is named only where the call inside it is not in the log.
        let takers = || self.calls.iter().rev();
        let helper = |c: &&usize| {
            let name = name(c);
            !name.starts_with("pc") && calls::invalidates(&name, &value.kind)
        };
        let taker = takers()
            .find(helper)
            .or_else(|| takers().find(|c| calls::invalidates(&name(c), &value.kind)));
        match taker.copied() {
            Some(at) => {
                self.push(at, What::Invalidated);
                true
            }
            None => {
                self.scalar = false;
                false
            }
        }
    }

    /// Out of a callee, backwards: its R0 is the caller's.
    fn returned(&mut self, i: usize, r: Reg) -> bool {
        if r != 0 {
            self.push(i, What::Clobbered);
            return true;
        }
        self.push(i, What::Returned);
        self.place = Place::Reg(self.trace.frame(i), 0);
        false
    }

    /// Into the caller, backwards: arguments stand in the same registers, or where the helper that
    /// calls back takes them from.
    fn passed(&mut self, i: usize, target: &str, place: Place) -> bool {
        let Place::Reg(frame, r) = place else { return true };
        let from = if target.starts_with("pc") || target.parse::<i64>().is_ok() {
            (1..=5).contains(&r).then_some(r)
        } else {
            calls::callback_argument(calls::name(target), r)
        };
        match from {
            Some(from) => {
                self.push(i, What::Passed);
                self.place = Place::Reg(frame - 1, from);
                false
            }
            None => {
                let what = if r <= 5 && !target.starts_with("pc") {
                    What::Called
                } else {
                    What::Clobbered
                };
                self.push(i, what);
                true
            }
        }
    }

    fn same_frame(&mut self, i: usize, op: &Op<'_>) -> bool {
        match self.place {
            Place::Reg(frame, r) => self.register(i, op, frame, r),
            Place::Slot(..) => match op {
                Op::Store { base, offset, size, from } => {
                    self.store(i, *base, *offset, *size, *from)
                }
                Op::Call(target) => self.called(i, target),
                Op::Atomic { base, offset, .. } => self.store(i, *base, *offset, 8, None),
                _ => false,
            },
        }
    }

    fn register(&mut self, i: usize, op: &Op<'_>, frame: u8, r: Reg) -> bool {
        match *op {
            Op::Branch { left, right, .. } if left == r || right == Some(r) => {
                let other = if left == r { right } else { Some(left) };
                self.push(i, What::Compared).other = other;
                false
            }
            Op::Call(_) if r <= 5 => {
                self.push(i, if r == 0 { What::Called } else { What::Clobbered });
                true
            }
            Op::Call(_) => {
                self.calls.push(i);
                false
            }
            Op::Copy { to, from, bits } if to == r => {
                self.push(i, if bits < 64 { What::Truncated } else { What::Copied });
                self.place = Place::Reg(frame, from);
                false
            }
            Op::Constant { to, .. } if to == r => {
                self.push(i, What::Constant);
                true
            }
            Op::Change { to, by, .. } if to == r => {
                self.push(i, What::Changed).other = by;
                false
            }
            Op::Load { to, base, offset, .. } if to == r => self.load(i, frame, base, offset),
            Op::Atomic { to: Some(to), .. } if to == r => {
                self.push(i, What::Loaded);
                true
            }
            // Old-style packet loads are calls to the kernel.
            Op::Other(Some(0)) if (1..=5).contains(&r) && self.is_packet_load(i) => {
                self.push(i, What::Clobbered);
                true
            }
            Op::Other(Some(to)) if to == r => {
                self.push(i, What::Loaded);
                true
            }
            _ => false,
        }
    }

    /// `r0 = *(u8 *)skb[12]`.
    fn is_packet_load(&self, i: usize) -> bool {
        self.trace.line(i).insn_text.is_some_and(|t| t.contains(" *)skb["))
    }

    /// A load: a fill goes back to the spill, anything else is an origin.
    fn load(&mut self, i: usize, frame: u8, base: Reg, offset: i32) -> bool {
        match self.stack_address(i, frame, base) {
            Some((f, off)) => {
                self.push(i, What::Filled);
                self.place = Place::Slot(f, off + offset);
                false
            }
            None => {
                self.push(i, What::Loaded);
                true
            }
        }
    }

    /// Frame and offset that a register points to on the stack.
    fn stack_address(&self, i: usize, frame: u8, base: Reg) -> Option<(u8, i32)> {
        if base == 10 {
            return Some((frame, 0));
        }
        let text = self.trace.value_before(i, frame, &format!("R{base}"))?;
        let value = Value::parse(&text);
        (value.kind == "fp" && value.is_fixed())
            .then(|| (value.frame.unwrap_or(frame), value.offset as i32))
    }

    fn store(&mut self, i: usize, base: Reg, offset: i32, size: u8, from: Option<Reg>) -> bool {
        let Place::Slot(own, slot) = self.place else { return false };
        let frame = self.trace.frame(i);
        let Some((f, off)) = self.stack_address(i, frame, base) else { return false };
        let off = off + offset;
        let end = off + i32::from(size);
        if f != own || end <= slot_of(slot) || off >= slot_of(slot) + 8 {
            return false;
        }
        if !(off <= slot && slot < end) {
            return false;
        }
        match from {
            Some(r) if off == slot => {
                self.push(i, What::Spilled);
                self.place = Place::Reg(frame, r);
                false
            }
            Some(_) => {
                self.push(i, What::Overwritten);
                true
            }
            None => {
                self.push(i, What::Constant);
                true
            }
        }
    }

    /// A call that may write the slot: by the state it leaves, or by what it is known to write.
    fn called(&mut self, i: usize, target: &str) -> bool {
        self.calls.push(i);
        let Place::Slot(own, slot) = self.place else { return false };
        let frame = self.trace.frame(i);
        let name = calls::name(target);
        let changed = frame == own
            && self
                .trace
                .value_at(i, &self.place.name())
                .is_some_and(|v| is_slot_types(&v) && v.contains('m'));
        if changed || self.writes_slot(i, frame, name, own, slot) {
            self.push(i, What::Written);
            return true;
        }
        false
    }

    fn writes_slot(&self, i: usize, frame: u8, name: &str, own: u8, slot: i32) -> bool {
        let Some((argument, size)) = calls::written_argument(name) else { return false };
        let Some((f, off)) = self.stack_address(i, frame, argument) else { return false };
        let known = size.and_then(|r| self.trace.value_before(i, frame, &format!("R{r}")));
        let len = known.and_then(|v| Value::parse(&v).most()).unwrap_or(8).clamp(1, 512) as i32;
        f == own && off <= slot && slot < off + len
    }
}

/// `mmmm????`: types of a slot's bytes, not a value.
fn is_slot_types(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b"m?0rdif".contains(&b)) || text.starts_with("mmmm")
}

/// Repeats in loops become one event; of a long history the ends are kept.
fn shorten(trace: &Trace<'_>, events: Vec<Event>) -> Vec<Event> {
    const MOST: usize = 12;
    const OLDEST: usize = 2;
    let key = |e: &Event| (trace.insn(e.at), e.place.frame(), e.what);
    let mut out: Vec<Event> = Vec::new();
    let mut place_of = BTreeMap::new();
    for e in events {
        match place_of.get(&key(&e)) {
            Some(i) => {
                let first: &mut Event = &mut out[*i];
                first.times += 1;
            }
            None => {
                place_of.insert(key(&e), out.len());
                out.push(e);
            }
        }
    }
    if out.len() > MOST {
        let drop = out.len() - MOST;
        out.drain(OLDEST..OLDEST + drop);
    }
    out
}
