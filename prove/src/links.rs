//! Whether registers of an explored state that are said to cover the current one's do, all together: identities tie
//! registers to each other, so every pair of small register files is tried against all the values they may hold.

use std::time::Instant;

use bpfassay_spec::{Config, Features, Kernel, RegBase, RegType, TypeFlags};
use bpfassay_verifier::domain::reg::{RegState, ADD_CONST32, ADD_CONST64};
use bpfassay_verifier::domain::tnum::Tnum;
use bpfassay_verifier::explore::covers::registers_cover;
use rayon::prelude::*;

use crate::report::{Line, Standing};

/// Registers of a file.
const N: usize = 3;
/// Values of scalars, and lengths of packets, are below this.
const VALUES: u64 = 4;

/// What the registers of a file hold at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    /// Numbers, distances from the packet's start, or 0 for NULL.
    values: [u64; N],
    /// Bytes of the packet.
    packet: u64,
}

type File = [RegState; N];

/// A kind of register, what a file of them may hold, and what was found safe with one.
struct Question {
    name: &'static str,
    /// Rules that are right as far as this goes; kernels with others are mistaken (`docs/proofs.md`).
    of: fn(&Features) -> bool,
    registers: Vec<RegState>,
    /// True if the file may hold this, as the current state.
    may_hold: fn(&File, &Held) -> bool,
    /// True if the explored file was found safe with this.
    allows: fn(&File, &Held) -> bool,
}

/// The sets of rules for state comparison that some release has.
fn rules() -> Vec<(&'static str, Features)> {
    let releases = ["5.10.262", "6.1.192", "6.12.118", "6.18.15", "6.18.44", "7.1.13", "7.3.4"];
    let mut all: Vec<(&str, Features)> = Vec::new();
    let of = |f: &Features| {
        let ids = (f.states_rename_ids, f.scalar_ids_compared, f.scalar_ids_one_way);
        (ids, f.packet_end_marks_compared, f.circular_ranges, f.pointer_offset_whole)
    };
    for release in releases {
        let kernel = Kernel::of_release(release, "x86_64", Config::default());
        let Some(new) = kernel.map(|k| k.features) else { continue };
        if !all.iter().any(|(_, f)| of(f) == of(&new)) {
            all.push((release, new));
        }
    }
    all
}

/// The rows that are decided here and whose names hold `filter`.
pub fn lines(filter: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for question in questions() {
        if question.name.contains(filter) {
            lines.push(line(&question));
        }
    }
    lines
}

fn questions() -> [Question; 3] {
    [
        Question {
            name: "regsafe: linked scalars",
            of: |f| f.scalar_ids_one_way,
            registers: scalars(),
            may_hold: scalars_hold,
            allows: scalars_allow,
        },
        Question {
            name: "regsafe: packet ranges",
            of: |f| f.states_rename_ids,
            registers: packets(),
            may_hold: packets_hold,
            allows: packets_hold,
        },
        Question {
            name: "regsafe: null checks",
            of: |f| f.states_rename_ids,
            registers: maybe_null(),
            may_hold: nulls_hold,
            allows: nulls_hold,
        },
    ]
}

fn line(question: &Question) -> Line {
    let start = Instant::now();
    let mut rules = rules();
    rules.retain(|(_, f)| (question.of)(f));
    let wrong = rules.iter().find_map(|(release, f)| {
        let covers = |old: &File, cur: &File| registers_cover(old, cur, f);
        first_wrong(question, covers).map(|w| format!("{release}: {w}"))
    });
    let files = question.registers.len().pow(N as u32);
    let pairs = files * files;
    let all = format!("{pairs} pairs of {N} registers, by {} sets of rules", rules.len());
    Line {
        name: question.name.to_string(),
        width: 8,
        result: if wrong.is_none() { Standing::Exhaustive } else { Standing::Failed },
        seconds: start.elapsed().as_secs_f64(),
        paths: u32::try_from(pairs).unwrap_or(u32::MAX),
        reason: Some(wrong.unwrap_or(all)),
    }
}

/// The first pair of which the old one is said to cover the current one and does not.
fn first_wrong(
    question: &Question,
    covers: impl Fn(&File, &File) -> bool + Sync,
) -> Option<String> {
    let regs = &question.registers;
    let file = |n: usize| -> File {
        std::array::from_fn(|i| regs[n / regs.len().pow(i as u32) % regs.len()])
    };
    let files: Vec<File> = (0..regs.len().pow(N as u32)).map(file).collect();
    let held: Vec<Held> = all_held();
    files.par_iter().find_map_first(|cur| {
        // What the current state does not care for is the explored one's to say.
        if cur.iter().any(|r| r.precise) {
            return None;
        }
        let held: Vec<&Held> = held.iter().filter(|h| (question.may_hold)(cur, h)).collect();
        files.iter().filter(|old| covers(old, cur)).find_map(|old| {
            let lost = held.iter().find(|h| !(question.allows)(old, h))?;
            Some(format!("{} is said to cover {}, not {lost:?}", words(old), words(cur)))
        })
    })
}

fn words(file: &File) -> String {
    let of = |r: &RegState| {
        format!(
            "(id {:#x}, off {}, {}..={}, range {}, precise {})",
            r.id,
            r.off,
            r.umin,
            r.umax,
            r.range(),
            r.precise
        )
    };
    file.iter().map(of).collect::<Vec<_>>().join(" ")
}

fn all_held() -> Vec<Held> {
    let mut all = Vec::new();
    for n in 0..VALUES.pow(N as u32) {
        let values = std::array::from_fn(|i| n / VALUES.pow(i as u32) % VALUES);
        all.extend((0..VALUES).map(|packet| Held { values, packet }));
    }
    all
}

fn ranged(min: u64, max: u64) -> RegState {
    let mut r = RegState::ZEROED;
    r.mark_unknown_imprecise();
    (r.umin, r.umax) = (min, max);
    (r.smin, r.smax) = (min as i64, max as i64);
    (r.u32_min, r.u32_max) = (min as u32, max as u32);
    (r.s32_min, r.s32_max) = (min as i32, max as i32);
    r.var_off = Tnum::range(min, max);
    r
}

fn scalars() -> Vec<RegState> {
    let links = [(0, 0), (1, 0), (2, 0), (1 | ADD_CONST64, 1), (1 | ADD_CONST32, 1)];
    let mut all = Vec::new();
    for (min, max) in [(0, VALUES - 1), (1, 2)] {
        for (id, off) in links {
            for precise in [true, false] {
                let mut r = ranged(min, max);
                (r.id, r.off, r.precise) = (id, off, precise);
                all.push(r);
            }
        }
    }
    all
}

/// The value of what a register is linked to.
fn base(r: &RegState, v: u64) -> (u32, u64) {
    (r.id & !(ADD_CONST64 | ADD_CONST32), v.wrapping_sub(r.off as u64))
}

/// Registers for which `cares` holds are in their ranges, and linked ones keep their distance.
fn linked(file: &File, h: &Held, cares: fn(&RegState) -> bool) -> bool {
    let one = |i: usize| {
        let (r, v) = (&file[i], h.values[i]);
        let (id, of) = base(r, v);
        let tied = (0..i).filter(|j| cares(&file[*j]) && id != 0);
        let mut others = tied.map(|j| base(&file[j], h.values[j]));
        r.contains(v) && others.all(|(other, v)| other != id || v == of)
    };
    (0..N).filter(|i| cares(&file[*i])).all(one)
}

fn scalars_hold(file: &File, h: &Held) -> bool {
    h.packet == 0 && linked(file, h, |_| true)
}

/// Nothing that was found safe depends on an imprecise scalar.
fn scalars_allow(file: &File, h: &Held) -> bool {
    linked(file, h, |r| r.precise)
}

fn packets() -> Vec<RegState> {
    let mut all = Vec::new();
    for id in [0, 1, 2] {
        for range in [0, 1, 2] {
            for off in [0, 1] {
                let mut r = ranged(0, if id == 0 { 0 } else { 2 });
                r.ty = RegType::of(RegBase::Packet);
                r.id = id;
                r.off = off;
                r.set_range(range);
                all.push(r);
            }
        }
    }
    all
}

/// So many bytes from the register's variable part on are in the packet, and those of one id have one variable part.
fn packets_hold(file: &File, h: &Held) -> bool {
    let variable = |i: usize| h.values[i].wrapping_sub(file[i].off as u64);
    (0..N).all(|i| {
        let (r, v) = (&file[i], variable(i));
        let same = |j: usize| file[j].id != r.id || r.id == 0 || variable(j) == v;
        r.contains(v) && v + r.range() as u64 <= h.packet && (0..i).all(same)
    })
}

fn maybe_null() -> Vec<RegState> {
    let of = |id: u32| {
        let flags = if id == 0 { TypeFlags::NONE } else { TypeFlags::PTR_MAYBE_NULL };
        let mut r = ranged(0, 0);
        r.ty = RegType::with(RegBase::MapValue, flags);
        r.id = id;
        r
    };
    (0..4).map(of).collect()
}

/// NULL only what may be, and those of one id together; others are 1.
fn nulls_hold(file: &File, h: &Held) -> bool {
    h.packet == 0
        && (0..N).all(|i| {
            let (r, v) = (&file[i], h.values[i]);
            let same = |j: usize| file[j].id != r.id || r.id == 0 || h.values[j] == v;
            v <= 1 && (v == 1 || r.ty.may_be_null()) && (0..i).all(same)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each register by itself, as kernels before 6.5 compare scalars.
    fn by_itself(old: &File, cur: &File, f: &Features) -> bool {
        (0..N).all(|i| registers_cover(&old[i..=i], &cur[i..=i], f))
    }

    #[test]
    fn registers_that_are_compared_one_by_one_are_noticed() {
        let (_, f) = &rules()[0];
        for question in questions() {
            assert!(
                first_wrong(&question, |o, c| by_itself(o, c, f)).is_some(),
                "{}",
                question.name
            );
        }
    }

    /// Before 6.3 registers that are equal say nothing of their identity to others, before 6.5 links of scalars are
    /// not compared, and before 7.2 those with a distance not with their base.
    #[test]
    fn mistakes_of_kernels_are_noticed() {
        let all = [("6.1.192", 0), ("6.18.15", 0), ("7.1.13", 0), ("6.1.192", 1)];
        for (release, question) in all {
            let kernel = Kernel::of_release(release, "x86_64", Config::default());
            let f = kernel.expect("a known release").features;
            let wrong = first_wrong(&questions()[question], |o, c| registers_cover(o, c, &f));
            assert!(wrong.is_some(), "{release}");
        }
    }

    #[test]
    fn what_is_said_to_cover_does() {
        for line in lines("safe") {
            assert_eq!(line.result, Standing::Exhaustive, "{:?}", line.reason);
        }
    }
}
