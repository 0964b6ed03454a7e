//! Registers, stack slots and source lines as the log shows them (`print_verifier_state`, `verbose_linfo`).

use std::fmt::Write as _;
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_spec::{RegBase, TypeFlags};

use super::buffer::LogLevel;
use super::names::{dynptr_type_name, is_snum_decimal, iter_state_name, Snum, TypeWords, Unum};
use super::plain_state;
use super::Log;
use crate::domain::marks::{At, Live};
use crate::domain::reg::{BtfObj, RegState, ADD_CONST};
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{FuncState, RefKind, RefState, StateId, VerifierState};
use crate::env::{Env, MapInfo};
use crate::trace;

/// The state of frame `frameno` of the current path: everything, or what was
/// scratched since it was last printed.
pub fn print_verifier_state(env: &mut Env<'_>, frameno: u32, print_all: bool) {
    let mut log = std::mem::take(&mut env.log);
    let was = log.set_aside(true);
    Printer::of(env, print_all).state(&mut log, &env.cur, frameno);
    log.set_aside(was);
    env.log = log;
    after_state(env, print_all);
}

/// The same for an explored state.
pub fn print_explored_state(env: &mut Env<'_>, id: StateId, frameno: u32, print_all: bool) {
    let mut log = std::mem::take(&mut env.log);
    let was = log.set_aside(true);
    if let Some(state) = env.explore.state(id) {
        Printer::of(env, print_all).state(&mut log, state, frameno);
    }
    log.set_aside(was);
    env.log = log;
    after_state(env, print_all);
}

/// The innermost frame of a state, whole, in one line.
pub fn state_text(env: &Env<'_>, state: &VerifierState) -> String {
    let mut log = Log::default();
    Printer::of(env, true).state(&mut log, state, state.curframe());
    log.into_text().trim_end().to_string()
}

fn after_state(env: &mut Env<'_>, print_all: bool) {
    if !print_all {
        env.scratched_regs = 0;
        env.scratched_slots = 0;
    }
}

/// The state after an instruction, appended to its line where nothing was printed in between.
pub fn print_insn_state(env: &mut Env<'_>, frameno: u32) {
    if !env.kernel.features.states_beside_insns {
        return print_verifier_state(env, frameno, true);
    }
    if env.prev_log_pos != 0 && env.prev_log_pos == env.log.pos() {
        env.log.reset_to(env.prev_log_pos - 1);
        let width = state_column(env.prev_insn_print_pos as u32) as usize;
        trace!(env, "{:width$};", "");
    } else {
        trace!(env, "{}:", env.insn_idx);
    }
    print_verifier_state(env, frameno, false);
}

/// Blanks between an instruction of `pos` bytes and its state (`vlog_alignment`): states
/// start at column 40, or at the next multiple of 8 after a gap of at least 4.
pub fn state_column(pos: u32) -> u32 {
    const MIN_ALIGNMENT: u32 = 8;
    const ALIGNMENT: u32 = 40;
    (pos + MIN_ALIGNMENT / 2).max(ALIGNMENT).next_multiple_of(MIN_ALIGNMENT) - pos - 1
}

/// The source line of an instruction, unless it is the one printed last (`verbose_linfo`).
/// `prefix` stands before it (`"; "`).
pub fn print_linfo(env: &mut Env<'_>, insn_idx: u32, prefix: &str) {
    if env.log.level == LogLevel::QUIET {
        return;
    }
    let Some(cur) = find_linfo(env, insn_idx) else { return };
    if env.prev_linfo == Some(cur) {
        return;
    }
    let lines = &env.prog.line_info;
    let li = lines[cur as usize];
    if let Some(prev) = env.prev_linfo {
        let prev = lines[prev as usize];
        let placed = env.kernel.features.source_lines_placed;
        if placed
            && prev.file_name_off == li.file_name_off
            && prev.line_col >> 10 == li.line_col >> 10
        {
            return;
        }
    }
    let btf = env.prog.btf.clone();
    let text = |off: u32| btf.as_deref().map_or("", |b| b.str(off));
    let file = text(li.file_name_off);
    let file = file.rsplit('/').next().unwrap_or(file);
    let source = text(li.line_off).trim_start();
    if env.kernel.features.source_lines_placed {
        trace!(env, "{prefix}{source} @ {file}:{}\n", li.line_col >> 10);
    } else {
        trace!(env, "{prefix}{source}\n");
    }
    env.prev_linfo = Some(cur);
}

/// Index of the line info record that covers an instruction: the last one at or before it.
pub fn find_linfo(env: &Env<'_>, insn_idx: u32) -> Option<u32> {
    let lines = &env.prog.line_info;
    if lines.is_empty() || insn_idx as usize >= env.insns.len() {
        return None;
    }
    Some(lines.partition_point(|l| l.insn_off <= insn_idx).saturating_sub(1) as u32)
}

/// What printing a state needs beside the state.
pub(super) struct Printer<'p> {
    pub(super) maps: &'p [MapInfo],
    btfs: &'p [Option<Arc<Btf>>],
    /// Registers and slots to print.
    regs: u32,
    slots: u64,
    /// Held locks are listed among the references.
    locks_are_refs: bool,
    /// Bounds are joined, maps named, and spilled registers shown whole (6.8).
    is_concise: bool,
    pub(super) words: TypeWords,
    /// The id of a reference is its pointers' id, parts name what they are part of (7.2).
    refs_by_id: bool,
}

/// Separator of an attribute list: nothing before the first.
struct Sep(&'static str);

impl Sep {
    fn next(&mut self) -> &'static str {
        std::mem::replace(&mut self.0, ",")
    }
}

impl<'p> Printer<'p> {
    fn of(env: &'p Env<'_>, print_all: bool) -> Printer<'p> {
        let (regs, slots) =
            if print_all { (!0, !0) } else { (env.scratched_regs, env.scratched_slots) };
        let is_concise = env.kernel.features.concise_states;
        let locks_are_refs = env.kernel.features.references_of_state;
        let words = TypeWords::of(&env.kernel.features);
        let refs_by_id = env.kernel.features.references_by_id;
        Printer {
            maps: &env.maps,
            btfs: &env.btfs,
            regs,
            slots,
            locks_are_refs,
            is_concise,
            words,
            refs_by_id,
        }
    }

    fn state(&self, log: &mut Log, vstate: &VerifierState, frameno: u32) {
        let frame = vstate.frame(frameno);
        if frame.frameno != 0 {
            let _ = write!(log, " frame{}:", frame.frameno);
        }
        for (i, reg) in frame.regs.iter().enumerate() {
            if reg.ty == RegBase::NotInit || self.regs >> i & 1 == 0 {
                continue;
            }
            let _ = write!(log, " R{i}{}=", frame.mark(At::Reg(i as u8)).live);
            self.reg(log, frame, reg);
        }
        self.stack(log, frame);
        let inner = frameno < vstate.curframe() && !self.locks_are_refs;
        self.refs(log, if inner { &frame.refs_at_call } else { &vstate.refs });
        if frame.in_callback_fn {
            let _ = log.write_str(" cb");
        }
        if frame.in_async_callback_fn {
            let _ = log.write_str(" async_cb");
        }
        let _ = log.write_str("\n");
    }

    fn refs(&self, log: &mut Log, refs: &[RefState]) {
        let counts = |r: &&RefState| self.locks_are_refs || r.kind == RefKind::Ptr;
        let mut refs = refs.iter().filter(counts);
        let Some(first) = refs.next().filter(|r| r.id != 0) else { return };
        let _ = write!(log, " refs={}", first.id);
        for r in refs.filter(|r| r.id != 0) {
            let _ = write!(log, ",{}", r.id);
        }
    }

    fn stack(&self, log: &mut Log, frame: &FuncState) {
        let slots = frame.stack();
        let mut spi = 0;
        while spi < slots.len() {
            if self.slots >> (spi & 63) & 1 != 0 {
                spi = self.slot(log, frame, slots, spi);
            }
            spi += 1;
        }
    }

    /// Prints one slot and returns the last slot it covers.
    fn slot(&self, log: &mut Log, frame: &FuncState, slots: &[StackSlot], spi: usize) -> usize {
        let slot = &slots[spi];
        if slot.kind.iter().all(|k| k.is_nothing()) {
            return spi;
        }
        let fp = -8 * (spi as i32 + 1);
        let live = frame.mark(At::Slot(spi as u8)).live;
        if !self.is_concise {
            let _ = write!(log, " fp{fp}{live}=");
            plain_state::slot(self, log, slot);
            return spi;
        }
        match slot.kind[7] {
            SlotType::Spill => {
                let _ = write!(log, " fp{fp}{live}=");
                for k in slot.kind.iter().take_while(|k| **k != SlotType::Spill) {
                    let _ = log.write_char(slot_char(*k));
                }
                self.reg(log, frame, &slot.spilled);
                spi
            }
            SlotType::Dynptr => {
                self.dynptr(log, frame, spi + 1);
                spi + 1
            }
            SlotType::Iter => {
                self.iter(log, &slot.spilled, fp, live);
                spi
            }
            _ => {
                let _ = write!(log, " fp{fp}{live}=");
                for k in slot.kind {
                    let _ = log.write_char(slot_char(k));
                }
                spi
            }
        }
    }

    fn dynptr(&self, log: &mut Log, frame: &FuncState, spi: usize) {
        let Some(slot) = frame.stack().get(spi) else { return };
        let reg = &slot.spilled;
        let fp = -8 * (spi as i32 + 1);
        let live = frame.mark(At::Slot(spi as u8)).live;
        let _ = write!(log, " fp{fp}{live}=dynptr_{}(", dynptr_type_name(reg.dynptr_type()));
        let mut sep = Sep("");
        // The third name reads the union's other half, as the kernel does.
        let names = if self.refs_by_id {
            [("id", reg.id), ("parent_id", reg.parent_id), ("", 0)]
        } else {
            [("id", reg.id), ("ref_id", reg.ref_obj_id), ("dynptr_id", reg.dynptr_id())]
        };
        for (name, id) in names {
            if id != 0 {
                let _ = write!(log, "{}{name}={id}", sep.next());
            }
        }
        let _ = log.write_str(")");
    }

    fn iter(&self, log: &mut Log, reg: &RegState, fp: i32, live: Live) {
        if reg.ref_obj_id == 0 {
            return;
        }
        let name = match reg.btf() {
            Some(btf) if reg.btf_id() != 0 => {
                let full = self.type_name(btf, reg.btf_id());
                full.strip_prefix("bpf_iter_").unwrap_or(full)
            }
            _ => "<invalid>",
        };
        let _ = write!(
            log,
            " fp{fp}{live}=iter_{name}({}={},state={},depth={})",
            if self.refs_by_id { "id" } else { "ref_id" },
            reg.ref_obj_id,
            iter_state_name(reg.iter_state()),
            reg.iter_depth()
        );
    }

    pub(super) fn type_name(&self, btf: BtfObj, id: u32) -> &str {
        self.btfs.get(btf.0 as usize).and_then(Option::as_deref).map_or("", |b| b.name(id))
    }

    fn reg(&self, log: &mut Log, frame: &FuncState, reg: &RegState) {
        if !self.is_concise {
            return plain_state::reg(self, log, reg);
        }
        let scalar = reg.ty == RegBase::Scalar;
        if scalar && reg.precise {
            let _ = log.write_str("P");
        }
        if scalar && reg.var_off.is_const() {
            let _ = write!(log, "{}", Snum(reg.var_off.value as i64));
            return;
        }
        let _ = write!(log, "{}", self.words.name(reg.ty));
        if reg.ty == RegBase::Arena {
            return;
        }
        if reg.ty == RegBase::Stack {
            if frame.frameno != reg.frameno {
                let _ = write!(log, "[{}]", reg.frameno);
            }
            if reg.var_off.is_const() {
                let off = (reg.var_off.value as i64).wrapping_add(reg.off as i64);
                let _ = write!(log, "{}", Snum(off));
                return;
            }
        }
        if reg.base() == RegBase::BtfId {
            let name = reg.btf().map_or("", |b| self.type_name(b, reg.btf_id()));
            let _ = log.write_str(name);
        }
        let _ = log.write_str("(");
        self.attributes(log, reg);
        let _ = log.write_str(")");
    }

    fn attributes(&self, log: &mut Log, reg: &RegState) {
        let mut sep = Sep("");
        if reg.id != 0 {
            let _ = write!(log, "{}id={}", sep.next(), (reg.id & !ADD_CONST) as i32);
        }
        if reg.id & ADD_CONST != 0 {
            let _ = write!(log, "{:+}", reg.off);
        }
        if self.refs_by_id {
            if reg.parent_id != 0 {
                let _ = write!(log, "{}parent_id={}", sep.next(), reg.parent_id as i32);
            }
        } else if reg.ref_obj_id != 0 {
            let _ = write!(log, "{}ref_obj_id={}", sep.next(), reg.ref_obj_id as i32);
        }
        if is_non_owning_ref(reg) {
            let _ = write!(log, "{}non_own_ref", sep.next());
        }
        if matches!(reg.base(), RegBase::ConstMapPtr | RegBase::MapKey | RegBase::MapValue) {
            if let Some(map) = reg.map().and_then(|m| self.maps.get(m.0 as usize)) {
                if !map.def.name.is_empty() {
                    let _ = write!(log, "{}map={}", sep.next(), map.def.name);
                }
                let (ks, vs) = (map.def.key_size as i32, map.def.value_size as i32);
                let _ = write!(log, "{}ks={ks},vs={vs}", sep.next());
            }
        }
        if reg.ty != RegBase::Scalar && reg.off != 0 {
            let _ = write!(log, "{}off={}", sep.next(), Snum(reg.off as i64));
        }
        if matches!(reg.base(), RegBase::Packet | RegBase::PacketMeta) {
            let _ = write!(log, "{}r={}", sep.next(), Unum(reg.range() as i64 as u64));
        }
        if reg.base() == RegBase::Mem {
            let _ = write!(log, "{}sz={}", sep.next(), Unum(reg.mem_size() as u64));
        }
        if reg.ty == RegBase::ConstDynptr {
            let _ = write!(log, "{}type={}", sep.next(), dynptr_type_name(reg.dynptr_type()));
        }
        if reg.var_off.is_const() {
            if reg.var_off.value != 0 {
                let _ = write!(log, "{}imm={}", sep.next(), Snum(reg.var_off.value as i64));
            }
            return;
        }
        ranges(log, reg, &mut sep);
        if !reg.var_off.is_unknown() {
            let _ = write!(log, "{}var_off={}", sep.next(), reg.var_off);
        }
    }
}

fn is_non_owning_ref(reg: &RegState) -> bool {
    reg.base() == RegBase::BtfId
        && reg.ty.has(TypeFlags::MEM_ALLOC)
        && reg.ty.has(TypeFlags::NON_OWN_REF)
}

pub(super) fn slot_char(k: SlotType) -> char {
    match k {
        SlotType::Invalid => '?',
        SlotType::Spill => 'r',
        SlotType::Misc => 'm',
        SlotType::Zero => '0',
        SlotType::Dynptr => 'd',
        SlotType::Iter => 'i',
        SlotType::IrqFlag => 'f',
        SlotType::Poison => 'p',
    }
}

/// The bounds that say something, equal ones of the same kind joined: `smin=umin=5,…` (`print_scalar_ranges`).
fn ranges(log: &mut Log, reg: &RegState, sep: &mut Sep) {
    // A 32-bit signed bound printed in hexadecimal shows its own 32 bits only.
    let short = |v: i32| if is_snum_decimal(v as i64) { v as i64 as u64 } else { v as u32 as u64 };
    let bounds: [(&str, bool, u64, bool); 8] = [
        ("smin", true, reg.smin as u64, reg.smin == i64::MIN),
        ("smax", true, reg.smax as u64, reg.smax == i64::MAX),
        ("umin", false, reg.umin, reg.umin == 0),
        ("umax", false, reg.umax, reg.umax == u64::MAX),
        ("smin32", true, short(reg.s32_min), reg.s32_min == i32::MIN),
        ("smax32", true, short(reg.s32_max), reg.s32_max == i32::MAX),
        ("umin32", false, reg.u32_min as u64, reg.u32_min == 0),
        ("umax32", false, reg.u32_max as u64, reg.u32_max == u32::MAX),
    ];
    let negative = |signed: bool, v: u64| signed && (v as i64) < 0;
    let mut said = bounds.map(|b| b.3);
    for i in 0..bounds.len() {
        if said[i] {
            continue;
        }
        let (name, signed, val, _) = bounds[i];
        let _ = write!(log, "{}{name}=", sep.next());
        // Minima stand at even places, maxima at odd ones.
        for j in (i + 2..bounds.len()).step_by(2) {
            let (other, other_signed, other_val, _) = bounds[j];
            if said[j] || other_val != val || negative(other_signed, val) != negative(signed, val) {
                continue;
            }
            said[j] = true;
            let _ = write!(log, "{other}=");
        }
        if signed {
            let _ = write!(log, "{}", Snum(val as i64));
        } else {
            let _ = write!(log, "{}", Unum(val));
        }
    }
}
