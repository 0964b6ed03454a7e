//! What is at hand where a program was rejected: registers, values, free registers.

use std::collections::BTreeMap;

use bpfassay_diag::log::State;
use bpfassay_diag::story::{assigned, assigned_at, number_after, Names, Step, Story, Value, What};
use bpfassay_object::model::Program;
use bpfassay_verifier::{Trail, TrailStep};

use super::names::Namer;
use super::terms::Terms;

/// A program that was rejected on a path.
pub struct Scene<'a> {
    pub program: &'a Program,
    pub story: &'a Story,
    pub trail: &'a Trail,
    pub namer: &'a Namer<'a>,
    pub terms: &'a Terms<'a>,
    /// The rejected instruction.
    pub at: u32,
    /// Its text, without the opcode.
    pub words: String,
    /// The message lines in one.
    pub said: String,
}

impl<'a> Scene<'a> {
    /// None where no path was at fault.
    pub fn of(
        program: &'a Program,
        story: &'a Story,
        trail: &'a Trail,
        namer: &'a Namer<'a>,
        terms: &'a Terms<'a>,
    ) -> Option<Scene<'a>> {
        let at = trail.steps.last()?.insn_idx;
        let text = namer.insn(at);
        let words = text.split_once(") ").map_or("", |(_, w)| w).to_string();
        let from = story.message.len().saturating_sub(3);
        let said = story.message[from..].join("\n");
        Some(Scene { program, story, trail, namer, terms, at, words, said })
    }

    /// A number of the message.
    pub fn number(&self, word: &str) -> Option<i64> {
        number_after(&self.said, word)
    }

    /// The register at fault.
    pub fn register(&self) -> Option<u8> {
        number_of(self.story.register.as_deref()?)
    }

    /// The newest step at an instruction.
    pub fn step(&self, insn: u32) -> Option<&'a TrailStep> {
        self.trail.steps.iter().rev().find(|s| s.insn_idx == insn)
    }

    /// What is known of a register or slot before an instruction.
    pub fn value(&self, insn: u32, name: &str) -> Option<Value> {
        let state = State::parse(&self.step(insn)?.state);
        state.get(name).map(|e| Value::parse(e.value))
    }

    pub fn reg(&self, insn: u32, r: u8) -> Option<Value> {
        self.value(insn, &format!("R{r}"))
    }

    /// The first register, then slot, before an instruction whose value is of a kind.
    pub fn holder(&self, insn: u32, is: impl Fn(&Value) -> bool) -> Option<String> {
        let state = State::parse(&self.step(insn)?.state);
        let found = state.entries.iter().find(|e| {
            let is_whole = !e.name.starts_with("fp") || !e.value.starts_with(['?', 'm', '0', 'r']);
            is_whole && is(&Value::parse(e.value))
        });
        found.map(|e| e.name.to_string())
    }

    /// Registers whose value nobody reads from `insn` on.
    pub fn free(&self, insn: u32) -> Vec<u8> {
        let live = self.trail.live.get(insn as usize).copied().unwrap_or(u16::MAX);
        (0..10).filter(|r| live >> r & 1 == 0).collect()
    }

    /// Bytes that a load or store reaches, and its offset from the base.
    pub fn access(&self) -> Option<(u8, i64, i64)> {
        access(&self.words)
    }

    pub fn is_call(&self) -> bool {
        self.words.starts_with("call ")
    }

    /// The addition of a number to the pointer at fault: instruction, pointer, number.
    pub fn addition(&self) -> Option<(u32, u8, u8)> {
        let own = (self.at, self.words.clone());
        let steps = self.story.lineage.iter().rev();
        let changed = steps.filter(|s| s.what == Some(What::Changed));
        let words = |s: &Step| s.text.split_once(") ").map_or("", |(_, w)| w).to_string();
        std::iter::once(own).chain(changed.map(|s| (s.insn, words(s)))).find_map(|(insn, words)| {
            let (to, by) = words.split_once(" += ")?;
            let (to, by) = (number_of(to)?, number_of(by)?);
            let is_pointer = self.reg(insn, to).is_some_and(|v| v.is_pointer());
            match is_pointer {
                true => Some((insn, to, by)),
                false => Some((insn, by, to))
                    .filter(|_| self.reg(insn, by).is_some_and(|v| v.is_pointer())),
            }
        })
    }

    /// The variable that a register holds before an instruction.
    pub fn name(&self, insn: u32, r: u8) -> Option<String> {
        self.terms.variable(insn, r)
    }

    /// The variable that a step makes, by its name or by what its line assigns; `p` without one.
    pub fn name_of(&self, step: &Step, r: u8) -> String {
        let made = || self.name(step.insn + 1, step.place.as_deref().and_then(number_of)?);
        let own = self.name(self.at, r).or_else(made).or_else(|| self.assigned(step));
        own.unwrap_or_else(|| "p".to_string())
    }

    /// The variable that a step's line assigns.
    fn assigned(&self, step: &Step) -> Option<String> {
        let place = crate::source_of(self.program, step.insn);
        let at = place.and_then(|s| assigned_at(&s.text, s.column));
        at.or_else(|| assigned(step.source.as_ref())).filter(|n| n.len() < 40)
    }

    /// As [`Scene::name_of`], of the value at fault.
    pub fn origin_name(&self, otherwise: &str) -> String {
        let named = self.story.number.clone().filter(|_| self.terms.program.debug.is_some());
        let first = || self.story.lineage.first().and_then(|s| self.assigned(s));
        named.or_else(first).unwrap_or_else(|| otherwise.to_string())
    }

    /// The number that is added at `insn`.
    pub fn name_of_number(&self, insn: u32, r: u8) -> String {
        let steps = self.story.added.as_ref().map_or(&self.story.lineage, |(_, steps)| steps);
        let makes = |s: &Step| {
            s.what.is_some_and(|w| w.is_origin() || w == What::Changed || w == What::Copied)
        };
        let assigned = steps.iter().filter(|s| makes(s)).find_map(|s| self.assigned(s));
        let named = self.story.number.clone().filter(|_| self.terms.program.debug.is_some());
        named.or_else(|| self.name(insn, r)).or(assigned).unwrap_or_else(|| "i".to_string())
    }

    /// What the number in a register was multiplied by since it was an index.
    pub fn scale(&self, _r: u8) -> u64 {
        let mut scale = 1u64;
        let steps = self.story.added.as_ref().map_or(&self.story.lineage, |(_, steps)| steps);
        for s in steps.iter().rev().filter(|s| s.what == Some(What::Changed)) {
            let words = s.text.split_once(") ").map_or("", |(_, w)| w);
            let operand = || words.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
            match (words.contains(" <<= "), words.contains(" *= "), operand()) {
                (true, _, Some(n)) if n < 12 => scale <<= n,
                (_, true, Some(n)) if n > 0 => scale = scale.saturating_mul(n),
                _ => break,
            }
        }
        scale
    }

    /// Elements of the array that a number is an index of, where type information has it.
    pub fn elements(&self, insn: u32, pointer: u8, scale: u64) -> Option<u64> {
        let map = self.reg(insn, pointer)?.map?;
        let array = self.terms.field(&map, self.story.constant?)?;
        array.count.filter(|n| n.checked_mul(scale) == Some(array.size))
    }

    /// Bytes of the first access through a register behind the rejected instruction.
    pub fn next_access(&self, r: u8) -> Option<i64> {
        let end = (self.at + 1..).take(8);
        end.map(|i| self.namer.insn(i)).find_map(|text| {
            let (_, rest) = text.split_once("*(")?;
            let (kind, rest) = rest.split_once(" *)(")?;
            let bits: i64 = kind.trim_start_matches(['u', 's']).parse().ok()?;
            (number_of(rest.split(' ').next()?)? == r).then_some(bits / 8)
        })
    }

    /// End of what straight-line code reaches through a register from the rejected instruction on.
    pub fn reach(&self, base: u8) -> i64 {
        const FAR: u32 = 12;
        let mut end = 0;
        for i in self.at..self.at + FAR {
            let text = self.namer.insn(i);
            let words = text.split_once(") ").map_or("", |(_, w)| w);
            if words.starts_with("if ") || words.starts_with("goto") || words == "exit" {
                break;
            }
            if let Some((_, off, bytes)) = access(words).filter(|(b, ..)| *b == base) {
                end = end.max(off + bytes);
            }
            let written = words.split(' ').next().and_then(number_of);
            if words.starts_with("call ") || written == Some(base) {
                break;
            }
        }
        end
    }

    /// Lowest byte of the stack that the program touches, by what its instructions and its path show.
    pub fn lowest_slot(&self) -> i64 {
        let own = self.program.insns.iter().filter(|i| i.dst == 10 || i.src == 10);
        let direct = own.map(|i| i64::from(i.off)).min().unwrap_or(0);
        let moved =
            self.program.insns.windows(2).filter(|w| w[0].src == 10 && w[0].dst == w[1].dst);
        let moved = moved.map(|w| i64::from(w[1].imm)).filter(|i| *i >= -512).min().unwrap_or(0);
        direct.min(moved).min(0).div_euclid(8) * 8
    }

    /// How the context's packet pointers were loaded on this path: offset of `data`, of `data_end`.
    pub fn packet_fields(&self) -> BTreeMap<&'static str, i64> {
        let mut found = BTreeMap::new();
        for pair in self.trail.steps.windows(2) {
            let words = self.namer.insn(pair[0].insn_idx);
            let Some((to, off)) = words.split_once(") ").and_then(|(_, w)| {
                let (to, rest) = w.split_once(" = *(u32 *)(")?;
                let (base, off) = rest.trim_end_matches(')').split_once(" +")?;
                let base =
                    State::parse(&pair[0].state).get(&format!("R{}", number_of(base)?))?.value;
                base.starts_with("ctx").then_some((to, off))
            }) else {
                continue;
            };
            let (Some(to), Ok(off)) = (number_of(to), off.parse()) else { continue };
            let state = State::parse(&pair[1].state);
            match state.get(&format!("R{to}")).map(|e| e.head) {
                Some("pkt") => drop(found.insert("data", off)),
                Some("pkt_end") => drop(found.insert("data_end", off)),
                _ => {}
            }
        }
        found
    }
}

/// Base, offset and size of `r1 = *(u32 *)(r2 +8)` or a store.
fn access(words: &str) -> Option<(u8, i64, i64)> {
    let (_, rest) = words.split_once("*(")?;
    let (kind, rest) = rest.split_once(" *)(")?;
    let bits: i64 = kind.trim_start_matches(['u', 's']).parse().ok()?;
    let (inner, _) = rest.split_once(')')?;
    let (base, off) = inner.split_once(' ')?;
    let off = off.trim().trim_start_matches('+').parse().ok()?;
    Some((number_of(base)?, off, bits / 8))
}

/// `R6`, `r6`, `w6`.
pub fn number_of(name: &str) -> Option<u8> {
    name.trim().strip_prefix(['R', 'r', 'w'])?.parse().ok().filter(|n| *n <= 10)
}
