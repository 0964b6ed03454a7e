//! Whether an explored state that is said to cover another one does: for every pair of a list of slots.
//!
//! Values of scalars are a question for the solver (`regsafe: values`); here types, identities, precision and bytes
//! of slots are, and no pair is left out.

use std::time::Instant;

use bpfassay_spec::{Features, RegBase, RegType};
use bpfassay_verifier::domain::reg::{MapId, RegState};
use bpfassay_verifier::domain::stack::{SlotType, StackSlot};
use bpfassay_verifier::domain::tnum::Tnum;
use bpfassay_verifier::explore::covers::slot_covers;

use crate::operations::rules;
use crate::report::{Line, Standing};

/// What a slot holds when the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// From the lowest address up; None was never written.
    Bytes([Option<u8>; 8]),
    /// An address, and how many bytes can be read from its region's start.
    Pointer { region: Region, at: u64, readable: i32 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
    Map(u32),
    Packet,
    Stack(u32),
    Context,
}

/// The rows that are decided here and whose names hold `filter`.
pub fn lines(filter: &str) -> Vec<Line> {
    let rows = [("regsafe: types", registers()), ("stacksafe: slots", slots())];
    rows.into_iter()
        .filter(|(name, _)| name.contains(filter))
        .map(|(name, list)| line(name, &list))
        .collect()
}

fn line(name: &str, list: &[StackSlot]) -> Line {
    let start = Instant::now();
    let features = rules()[0];
    let wrong = first_wrong(list, |old, cur| slot_covers(old, cur, &features));
    let pairs = list.len() * list.len();
    Line {
        name: name.to_string(),
        width: 8,
        result: if wrong.is_none() { Standing::Exhaustive } else { Standing::Failed },
        seconds: start.elapsed().as_secs_f64(),
        paths: pairs as u32,
        reason: Some(wrong.unwrap_or(format!("{pairs} pairs of slots, each with all it may hold"))),
    }
}

/// The first pair of which the old one is said to cover the current one and does not.
pub fn first_wrong(
    list: &[StackSlot],
    covers: impl Fn(&StackSlot, &StackSlot) -> bool,
) -> Option<String> {
    list.iter().find_map(|cur| {
        let held = contents(cur);
        list.iter().filter(|old| covers(old, cur)).find_map(|old| {
            let lost = held.iter().find(|c| !allows(old, c))?;
            Some(format!("{:?} {:?} does not hold {lost:?}", old.kind, old.spilled.ty))
        })
    })
}

/// The features of the newest build, for tests.
pub fn newest() -> Features {
    rules()[0]
}

fn scalar(min: u64, max: u64, precise: bool) -> RegState {
    let mut r = RegState::ZEROED;
    r.mark_unknown_imprecise();
    r.umin = min;
    r.umax = max;
    r.var_off = Tnum::range(min, max);
    r.sync(&newest());
    r.precise = precise;
    r
}

fn scalars() -> Vec<RegState> {
    let ranges = [(0, 0), (1, 1), (0, 1), (1, 2), (0, 255), (0, u64::MAX)];
    ranges.into_iter().flat_map(|(a, b)| [true, false].map(|p| scalar(a, b, p))).collect()
}

fn whole(r: RegState) -> StackSlot {
    StackSlot { spilled: r, kind: [SlotType::Spill; 8] }
}

/// Registers of the types that compare by more than equality, and of some that do not.
fn registers() -> Vec<StackSlot> {
    let mut all: Vec<RegState> = scalars();
    for (min, max) in [(0, 0), (0, 7), (1, 3)] {
        for off in [0, 4] {
            for id in [0, 1] {
                for base in [RegBase::MapValue, RegBase::Packet, RegBase::Stack, RegBase::Ctx] {
                    let mut r = scalar(min, max, false);
                    r.ty = RegType::of(base);
                    r.off = off;
                    r.id = id;
                    all.extend(variants(r, base));
                }
            }
        }
    }
    all.into_iter().map(whole).collect()
}

fn variants(r: RegState, base: RegBase) -> Vec<RegState> {
    let with = |f: &dyn Fn(&mut RegState)| {
        let mut r = r;
        f(&mut r);
        r
    };
    match base {
        RegBase::MapValue => [0, 1].map(|m| with(&|r| r.set_map(MapId(m)))).into(),
        RegBase::Packet => [-2, -1, 0, 8, 14].map(|n| with(&|r| r.set_range(n))).into(),
        RegBase::Stack => [0, 1].map(|f| with(&|r| r.frameno = f)).into(),
        _ => vec![r],
    }
}

/// Slots by bytes: two at a time alike, or the low ones a spilled scalar.
fn slots() -> Vec<StackSlot> {
    const PLAIN: [SlotType; 3] = [SlotType::Invalid, SlotType::Misc, SlotType::Zero];
    let mut all = Vec::new();
    for n in 0..81 {
        let of = |i: usize| PLAIN[n / 3usize.pow(i as u32 / 2) % 3];
        let kind = std::array::from_fn(of);
        all.push(StackSlot { spilled: RegState::ZEROED, kind });
    }
    for bytes in [1, 2, 4, 8] {
        for rest in PLAIN {
            for spilled in scalars().into_iter().filter(|r| r.umax >> (bytes * 8 - 1) <= 1) {
                let of = |i: usize| if i + bytes >= 8 { SlotType::Spill } else { rest };
                all.push(StackSlot { spilled, kind: std::array::from_fn(of) });
            }
        }
    }
    all
}

/// What the slot may hold; of bytes and numbers that may be anything, the ends and what lies between.
fn contents(slot: &StackSlot) -> Vec<Content> {
    let r = &slot.spilled;
    if slot.kind[7] == SlotType::Spill {
        let values: Vec<u64> =
            [0, 1, 2, 3, 7, 255, 256, u64::MAX].into_iter().filter(|v| r.contains(*v)).collect();
        return values.into_iter().flat_map(|v| spilled(slot, v)).collect();
    }
    let mut all = vec![[None; 8]];
    for i in 0..8 {
        let bytes: &[Option<u8>] = match slot.kind[7 - i] {
            SlotType::Zero => &[Some(0)],
            SlotType::Misc => &[Some(0), Some(255)],
            _ => &[None, Some(1)],
        };
        let longer = |c: [Option<u8>; 8]| {
            bytes.iter().map(move |b| {
                let mut c = c;
                c[i] = *b;
                c
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all.into_iter().map(Content::Bytes).collect()
}

fn spilled(slot: &StackSlot, v: u64) -> Vec<Content> {
    let r = &slot.spilled;
    let at = v.wrapping_add(r.off as i64 as u64);
    let pointer = |region, readable| Content::Pointer { region, at, readable };
    match r.base() {
        RegBase::MapValue => vec![pointer(Region::Map(r.map().map_or(0, |m| m.0)), 0)],
        // A mark is no length; a length is a minimum.
        RegBase::Packet if r.range() < 0 => vec![pointer(Region::Packet, r.range())],
        RegBase::Packet => [0, 8, 100].map(|n| pointer(Region::Packet, r.range() + n)).into(),
        RegBase::Stack => vec![pointer(Region::Stack(r.frameno), 0)],
        RegBase::Ctx => vec![pointer(Region::Context, 0)],
        _ => {
            let bytes = v.to_le_bytes();
            let of = |rest: u8| {
                Content::Bytes(std::array::from_fn(|i| match slot.kind[7 - i] {
                    SlotType::Spill => Some(bytes[i]),
                    SlotType::Zero => Some(0),
                    SlotType::Misc => Some(rest),
                    _ => None,
                }))
            };
            vec![of(0), of(255)]
        }
    }
}

/// What was found safe with `old` was found safe with this content.
fn allows(old: &StackSlot, content: &Content) -> bool {
    let r = &old.spilled;
    match (content, r.base()) {
        (Content::Pointer { region, at, readable }, base) => {
            let of = match base {
                RegBase::MapValue => Region::Map(r.map().map_or(0, |m| m.0)),
                RegBase::Packet => Region::Packet,
                RegBase::Stack => Region::Stack(r.frameno),
                RegBase::Ctx => Region::Context,
                _ => return false,
            };
            let is_mark = r.range() < 0 || *readable < 0;
            let reaches = of != Region::Packet
                || if is_mark { *readable == r.range() } else { *readable >= r.range() };
            *region == of && reaches && r.contains(at.wrapping_sub(r.off as i64 as u64))
        }
        (Content::Bytes(bytes), _) => (0..8).all(|i| match (old.kind[7 - i], bytes[i]) {
            // Nothing that was found safe read it.
            (SlotType::Invalid, _) => true,
            (_, None) => false,
            (SlotType::Zero, Some(b)) => b == 0,
            (SlotType::Spill, Some(_)) if r.is_scalar() => !r.precise || number_fits(old, bytes),
            (SlotType::Spill, Some(_)) => false,
            (_, Some(_)) => true,
        }),
    }
}

/// The spilled bytes make a number that the register may be.
fn number_fits(old: &StackSlot, bytes: &[Option<u8>; 8]) -> bool {
    let spilled = (0..8).filter(|i| old.kind[7 - i] == SlotType::Spill);
    let v = spilled.fold(0, |v, i| v | u64::from(bytes[i].unwrap_or(0)) << (8 * i));
    old.spilled.contains(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_everything_is_noticed() {
        assert!(first_wrong(&registers(), |_, _| true).is_some());
        assert!(first_wrong(&slots(), |_, _| true).is_some());
        let by_kind = |o: &StackSlot, c: &StackSlot| o.kind == c.kind;
        assert!(first_wrong(&slots(), by_kind).is_some());
    }

    #[test]
    fn what_is_said_to_cover_does() {
        for line in lines("safe") {
            assert_eq!(line.result, Standing::Exhaustive, "{:?}", line.reason);
        }
    }
}
