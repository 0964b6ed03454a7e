//! The bytes being written, with labels, and the choice of jump lengths.
//!
//! Every jump is first written as if short.  [`CodeBuf::finish`] finds those that do
//! not reach, moves the code apart, and has the backend write each jump for the distance it got.  On a
//! processor whose jumps have one length, short and long are the same.  Where every jump
//! reaches, and padding was wanted only where the jumps before were known to, nothing moves and the
//! code is finished in place.

use bpfassay_isa::Reg;

use crate::facts::{both, Set};
use crate::mutation::{has, Mutation};

/// A place in the code, bound once: slots of the program first, others after them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(pub u32);

/// A position that moves with the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(u32);

const UNBOUND: u32 = u32::MAX;

/// Where a label is bound.
#[inline]
fn bound(labels: &[u32], label: Label) -> Option<u32> {
    labels.get(label.0 as usize).copied().filter(|at| *at != UNBOUND)
}

/// Something whose bytes depend on where its target ends up.
#[derive(Clone, Copy, Debug)]
pub struct Fixup {
    at: u32,
    to: Label,
    /// The backend's own number for what to write.
    pub kind: u8,
    /// Bytes when short and when long; for padding 0 and the alignment.
    short: u8,
    long: u8,
    is_long: bool,
    /// Reach of the short form, counted from its end.
    reach: i32,
}

impl Fixup {
    /// `distance` counts from the end of the short form.
    #[inline]
    fn reaches(&self, distance: i32) -> bool {
        let beyond = if has(Mutation::JumpReachesFurther) { 4 } else { 0 };
        distance <= self.reach + beyond && distance >= -self.reach - 1
    }

    /// True if it reaches this place as things lie.
    #[inline]
    fn reaches_from(&self, to: u32) -> bool {
        self.reaches(to as i32 - (self.at + self.short as u32) as i32)
    }
}

/// `kind` of padding.
const PAD: u8 = u8::MAX;

/// A target that was never bound, or code beyond 2 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unbound;

#[derive(Debug, Default)]
pub struct CodeBuf {
    bytes: Vec<u8>,
    /// Offset of the next byte; 32 bits, so that a sum with it does not wrap.
    pos: u32,
    /// Last offset with [`MARGIN`] bytes behind it.
    full: u32,
    /// Offsets, before jumps have found their lengths.
    labels: Vec<u32>,
    fixups: Vec<Fixup>,
    /// Bytes were written with no label bound for longer than [`MARGIN`].
    lost: bool,
    nowhere: [u8; CHUNK],
    /// Fixups from the first on that reach their targets as long as nothing moves.
    reaching: usize,
    /// A jump does not reach, or there is padding of a length not known yet: code will move.
    moves: bool,
    /// Halves of BPF registers that are read after the instruction being lowered.
    live: Set,
}

/// Bytes an instruction may take at once.
const CHUNK: usize = 16;
/// Bytes there is room for behind every bound label: more than any BPF instruction, frame or stub becomes.
/// So what writes an instruction has nothing to call but for what is rare, and keeps to registers.
const MARGIN: usize = 1024;
/// Fixups there is room for behind every bound label, likewise.
const FIXUPS: usize = 64;

impl CodeBuf {
    /// With room for `capacity` bytes and `slots` labels to begin with.
    pub fn new(slots: usize, capacity: usize) -> CodeBuf {
        CodeBuf {
            bytes: vec![0; capacity + MARGIN],
            pos: 0,
            full: capacity as u32,
            labels: vec![UNBOUND; slots + 1],
            fixups: Vec::with_capacity(slots / 2 + 2 * FIXUPS),
            lost: false,
            nowhere: [0; CHUNK],
            reaching: 0,
            moves: false,
            live: Set::MAX,
        }
    }

    /// Notes what is read after the instruction that comes next.
    #[inline(always)]
    pub(crate) fn set_live(&mut self, after: Set) {
        self.live = after;
    }

    /// True when something after the current instruction reads this BPF register.
    #[inline]
    pub fn is_live(&self, r: Reg) -> bool {
        self.live & both(r.0) != 0
    }

    /// Offset of the next byte, before jumps have found their lengths.
    #[inline]
    pub fn pos(&self) -> usize {
        self.pos as usize
    }

    /// The next bytes, so many that one instruction fits.
    #[inline(always)]
    fn room(&mut self) -> &mut [u8; CHUNK] {
        let at = self.pos as usize;
        match self.bytes.get_mut(at..at + CHUNK).and_then(|b| b.first_chunk_mut()) {
            Some(room) => room,
            None => {
                self.lost = true;
                &mut self.nowhere
            }
        }
    }

    /// Appends the first `n` of up to eight bytes, lowest first.
    #[inline(always)]
    pub fn put(&mut self, bytes: u64, n: usize) {
        self.room()[..8].copy_from_slice(&bytes.to_le_bytes());
        self.pos += n.min(8) as u32;
    }

    /// Appends the first `n` bytes of `head` and the first `m` of `tail`, lowest first; up to eight each.
    #[inline(always)]
    pub fn put_two(&mut self, head: u64, n: usize, tail: u64, m: usize) {
        let n = n.min(8);
        let to = self.room();
        to[..8].copy_from_slice(&head.to_le_bytes());
        to[n..n + 8].copy_from_slice(&tail.to_le_bytes());
        self.pos += (n + m.min(8)) as u32;
    }

    #[inline(always)]
    pub fn put_u32(&mut self, word: u32) {
        self.room()[..4].copy_from_slice(&word.to_le_bytes());
        self.pos += 4;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let least = self.pos as usize + MARGIN;
        if least > self.bytes.len() {
            self.bytes.resize(self.bytes.len().max(least) * 2, 0);
        }
        self.full = u32::try_from(self.bytes.len() - MARGIN).unwrap_or(u32::MAX);
        self.fixups.reserve(FIXUPS + 1);
    }

    /// A label that is no slot.
    pub fn new_label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(u32::try_from(self.labels.len() - 1).unwrap_or(u32::MAX))
    }

    #[inline]
    pub fn bind(&mut self, label: Label) {
        let pos = self.pos;
        if pos > self.full {
            self.grow();
        }
        if let Some(l) = self.labels.get_mut(label.0 as usize) {
            *l = pos;
        }
    }

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark(self.pos)
    }

    /// Notes a fixup; where room runs short, the next label that is bound makes more.
    #[inline(always)]
    fn note(&mut self, fixup: Fixup) {
        let left = self.fixups.capacity() - self.fixups.len();
        if left <= FIXUPS {
            self.full = 0;
        }
        if left > 0 {
            self.fixups.push(fixup);
        } else {
            self.lost = true;
        }
    }

    /// Reserves a place whose bytes [`Patch::patch`] writes: `short` bytes if the distance
    /// from its end is within `reach` (`-reach - 1 ..= reach`), else `long`.
    #[inline]
    pub fn fixup(&mut self, kind: u8, to: Label, short: u8, long: u8, reach: i32) {
        let at = self.pos;
        self.pos += short as u32;
        self.note(Fixup { at, to, kind, short, long, is_long: short == long, reach });
    }

    /// As [`CodeBuf::fixup`] for an instruction of four bytes, which [`Patch::patch`] finds in place.
    #[inline]
    pub fn fixup_u32(&mut self, kind: u8, word: u32, to: Label, long: u8, reach: i32) {
        let at = self.pos;
        self.put_u32(word);
        self.note(Fixup { at, to, kind, short: 4, long, is_long: long == 4, reach });
    }

    /// Writes the four bytes before this position anew; they must be no fixup.
    #[inline]
    pub fn rewrite_u32(&mut self, word: u32) {
        let end = self.pos as usize;
        let last = end.checked_sub(4).and_then(|at| self.bytes.get_mut(at..end));
        if let Some(to) = last {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Makes the next position a multiple of `to`, a power of two up to 128.
    pub fn align<P: Patch>(&mut self, to: u8) {
        let at = self.pos as usize;
        if self.all_reach() {
            // Nothing before this moves any more.
            let end = at + (at.wrapping_neg() & (to as usize - 1));
            if end > self.bytes.len() {
                self.grow();
            }
            P::pad(self.bytes.get_mut(at..end).unwrap_or_default());
            self.pos = end as u32;
            return;
        }
        self.moves = true;
        self.note(Fixup {
            at: at as u32,
            to: Label(u32::MAX),
            kind: PAD,
            short: 0,
            long: to,
            is_long: true,
            reach: 0,
        });
    }

    /// True when every jump so far reaches a place known already, so that all of it stays where it is.
    fn all_reach(&mut self) -> bool {
        if self.moves {
            return false;
        }
        let rest = self.fixups.get(self.reaching..).unwrap_or_default();
        let to = |f: &Fixup| bound(&self.labels, f.to);
        let reaches = |f: &Fixup| f.is_long || to(f).is_some_and(|to| f.reaches_from(to));
        let stops = rest.iter().position(|f| !reaches(f));
        self.reaching += stops.unwrap_or(rest.len());
        let Some(f) = stops.and_then(|n| rest.get(n)) else { return true };
        // What is bound already does not move nearer.
        self.moves = to(f).is_some();
        false
    }

    /// Chooses lengths and writes everything: the code, and where labels and marks went.
    pub fn finish<P: Patch>(mut self) -> Result<Placed, Unbound> {
        let end = self.pos as usize;
        if self.lost || end > self.bytes.len() || end > i32::MAX as usize {
            return Err(Unbound);
        }
        self.bytes.truncate(end);
        if self.moves {
            return self.finish_apart::<P>();
        }
        for f in &self.fixups {
            let to = bound(&self.labels, f.to).ok_or(Unbound)?;
            if !f.is_long && !f.reaches_from(to) {
                // As if none had been written.
                return self.finish_apart::<P>();
            }
            let range = f.at as usize..f.at as usize + f.short as usize;
            let at = self.bytes.get_mut(range).ok_or(Unbound)?;
            P::patch(f.kind, at, to.wrapping_sub(f.at) as i32);
        }
        Ok(Placed { code: self.bytes, labels: self.labels, moved: Moved::default() })
    }

    /// As [`CodeBuf::finish`], where code moves.
    fn finish_apart<P: Patch>(mut self) -> Result<Placed, Unbound> {
        let mut moved = Moved::new(&self.fixups, &self.labels);
        while self.lengthen(&mut moved)? {}
        let room = (self.pos + moved.by.last().copied().unwrap_or(0)) as usize;
        let mut out = Vec::with_capacity(room + CHUNK);
        let mut from = 0usize;
        // Padding as it is, not as it might be.
        let mut real = 0u32;
        for (f, by) in self.fixups.iter().zip(moved.by.iter_mut()) {
            *by = real;
            let grown = match f.kind {
                PAD => (f.at + real).wrapping_neg() & (f.long as u32 - 1),
                _ if f.is_long => (f.long - f.short) as u32,
                _ => continue,
            };
            // Up to the end of the short form, and zeros for the rest.
            let to = f.at as usize + f.short as usize;
            out.extend_from_slice(self.bytes.get(from..to).ok_or(Unbound)?);
            let start = out.len();
            out.resize(start + grown as usize, 0);
            if f.kind == PAD {
                P::pad(out.get_mut(start..).unwrap_or_default());
            }
            from = to;
            real += grown;
        }
        out.extend_from_slice(self.bytes.get(from..self.pos as usize).ok_or(Unbound)?);
        if let Some(by) = moved.by.last_mut() {
            *by = real;
        }
        for (label, before) in self.labels.iter_mut().zip(&moved.before) {
            if *label != UNBOUND {
                *label += moved.by.get(*before as usize).copied().ok_or(Unbound)?;
            }
        }
        for (f, by) in self.fixups.iter().zip(&moved.by).filter(|(f, _)| f.kind != PAD) {
            let start = f.at + by;
            let len = if f.is_long { f.long } else { f.short };
            let to = bound(&self.labels, f.to).ok_or(Unbound)?;
            let range = start as usize..start as usize + len as usize;
            let at = out.get_mut(range).ok_or(Unbound)?;
            P::patch(f.kind, at, (to as i32).wrapping_sub(start as i32));
        }
        Ok(Placed { code: out, labels: self.labels, moved })
    }

    /// One round of lengthening jumps that do not reach; true if another is needed.
    fn lengthen(&mut self, moved: &mut Moved) -> Result<bool, Unbound> {
        let mut sum = 0u32;
        for (f, by) in self.fixups.iter().zip(moved.by.iter_mut()) {
            *by = sum;
            // Padding counts as the most it can be, so that distances only shrink.
            let grown = match f.kind {
                PAD => f.long - 1,
                _ if f.is_long => f.long - f.short,
                _ => 0,
            };
            sum += grown as u32;
        }
        if let Some(by) = moved.by.last_mut() {
            *by = sum;
        }
        if self.pos.saturating_add(sum) > i32::MAX as u32 {
            return Err(Unbound);
        }
        let mut again = false;
        for (f, by) in self.fixups.iter_mut().zip(&moved.by) {
            if f.is_long {
                continue;
            }
            let to = bound(&self.labels, f.to).ok_or(Unbound)?;
            let target = to + moved.of_label(f.to.0 as usize).ok_or(Unbound)?;
            let distance = target as i32 - (f.at + by + f.short as u32) as i32;
            if !f.reaches(distance) {
                f.is_long = true;
                again = true;
            }
        }
        Ok(again)
    }
}

/// How far what lies between fixups moved.
#[derive(Debug, Default)]
struct Moved {
    /// Offsets of fixups, before anything moved; those of padding count for what lies at them too.
    at: Vec<u32>,
    /// How far what lies before each fixup moved, and what lies behind all; empty where nothing moved.
    by: Vec<u32>,
    /// Fixups before each label.
    before: Vec<u32>,
}

impl Moved {
    fn new(fixups: &[Fixup], labels: &[u32]) -> Moved {
        let at: Vec<u32> = fixups.iter().map(|f| f.at + u32::from(f.kind != PAD)).collect();
        let mut moved = Moved { by: vec![0; at.len() + 1], at, before: Vec::new() };
        // Labels of slots ascend, so that most are found beside the one before.
        let mut n = 0;
        let count = |label: &u32| {
            let behind = |n: usize| moved.at.get(n).is_some_and(|at| at <= label);
            if n > 0 && !behind(n - 1) {
                n = moved.fixups_before(*label);
            }
            while behind(n) {
                n += 1;
            }
            n as u32
        };
        let before = labels.iter().map(count).collect();
        moved.before = before;
        moved
    }

    fn fixups_before(&self, off: u32) -> usize {
        self.at.partition_point(|at| *at <= off)
    }

    fn of_label(&self, label: usize) -> Option<u32> {
        self.by.get(*self.before.get(label)? as usize).copied()
    }
}

/// Finished code.
#[derive(Debug)]
pub struct Placed {
    pub code: Vec<u8>,
    labels: Vec<u32>,
    moved: Moved,
}

impl Placed {
    pub fn label(&self, l: Label) -> Option<u32> {
        bound(&self.labels, l)
    }

    /// Where the first `n` labels went, and the code itself.
    pub fn into_first(mut self, n: usize) -> Option<(Vec<u32>, Vec<u8>)> {
        self.labels.truncate(n);
        let whole = self.labels.len() == n && !self.labels.contains(&UNBOUND);
        whole.then_some((self.labels, self.code))
    }

    pub fn mark(&self, m: Mark) -> Option<u32> {
        if self.moved.by.is_empty() {
            return Some(m.0);
        }
        Some(m.0 + self.moved.by.get(self.moved.fixups_before(m.0))?)
    }
}

/// Writes the bytes of fixups and padding.
pub trait Patch {
    /// `at` has the short or the long length; `distance` counts from its first byte.  May be called again,
    /// for another distance and length.
    fn patch(kind: u8, at: &mut [u8], distance: i32);
    /// Fills padding with something that may be run through.
    fn pad(at: &mut [u8]);
}
