//! What happened on the path, and which of it led to a value, a reference or a region
//! (`struct bpf_diag_log`, `diag_print_history`).

use std::collections::VecDeque;

use bpfassay_spec::{RegBase, RegType};

use super::{describe, keeps_lineage, source};
use crate::domain::reg::{BtfObj, MapId, RegState};
use crate::domain::tnum::Tnum;
use crate::env::Env;

/// Events kept: 64 MiB of the kernel's, of 152 bytes each.
const MOST: usize = (64 << 20) / 152;
/// Events shown; those in the middle are left out.
const SHOWN: usize = 64;

/// A place in a frame that holds a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Reg(u8),
    Slot(u16),
    /// Bytes from the first offset to before the second.
    Range(i16, i16),
}

/// A place in a frame that was entered once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub frame_id: u32,
    pub frameno: u32,
    pub place: Place,
}

impl Target {
    /// What happened here concerns `o` (`diag_target_matches`).
    fn concerns(&self, o: &Target) -> bool {
        if (self.frame_id, self.frameno) != (o.frame_id, o.frameno) {
            return false;
        }
        match (self.place, o.place) {
            (Place::Range(min, max), Place::Slot(spi)) => {
                let off = -(i32::from(spi) + 1) * 8;
                i32::from(min) < off + 8 && i32::from(max) > off
            }
            (Place::Range(..), _) => false,
            (mine, theirs) => mine == theirs,
        }
    }
}

/// Why a place changed (`enum bpf_diag_mod_reason`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    Write,
    Spill,
    VarWrite,
    Release,
    PacketChange,
    NonOwning,
    CallerSaved,
}

/// A region of code (`enum bpf_diag_context_kind`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    None,
    Rcu,
    Preempt,
    Irq,
    Lock,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::Rcu => "RCU read lock region",
            Context::Preempt => "non-preemptible region",
            Context::Irq => "IRQ-disabled region",
            Context::Lock => "lock region",
            Context::None => "non-sleepable program",
        }
    }

    /// Why nothing in it may sleep.
    pub fn constraint(self) -> &'static str {
        match self {
            Context::Rcu => "RCU read-side critical sections cannot call operations that may sleep",
            Context::Preempt => "preemption-disabled code cannot call operations that may sleep",
            Context::Irq => "IRQ-disabled code cannot call operations that may sleep",
            Context::Lock => "code holding a BPF spin lock cannot call operations that may sleep",
            Context::None => "",
        }
    }

    pub fn active(self, depth: u32) -> String {
        match depth {
            1 => format!("an active {} (depth 1)", self.name()),
            _ => format!("{depth} active {}s (depth {depth})", self.name()),
        }
    }
}

/// What is kept of a register.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Snapshot {
    pub ty: RegType,
    pub map: Option<MapId>,
    pub btf: Option<(BtfObj, u32)>,
    pub var_off: Tnum,
    pub signed: (i64, i64),
    pub unsigned: (u64, u64),
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            ty: RegBase::NotInit.into(),
            map: None,
            btf: None,
            var_off: Tnum::constant(0),
            signed: (0, 0),
            unsigned: (0, 0),
        }
    }
}

impl Snapshot {
    pub fn of(reg: &RegState) -> Snapshot {
        let of_map =
            matches!(reg.base(), RegBase::ConstMapPtr | RegBase::MapKey | RegBase::MapValue);
        let of_btf = reg.base() == RegBase::BtfId && reg.btf_id() != 0;
        Snapshot {
            ty: reg.ty,
            map: reg.map().filter(|_| of_map),
            btf: reg.btf().filter(|_| of_btf).map(|b| (b, reg.btf_id())),
            var_off: reg.var_off,
            signed: (reg.smin, reg.smax),
            unsigned: (reg.umin, reg.umax),
        }
    }

    pub fn is_uninit(&self) -> bool {
        self.ty == RegBase::NotInit
    }
}

/// A place that changed.
#[derive(Clone, Debug)]
pub struct Modification {
    pub target: Target,
    /// Where the new value comes from.
    pub origin: Option<Target>,
    pub before: Snapshot,
    pub after: Snapshot,
    pub why: Why,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    Branch { taken: bool },
    Modified(Box<Modification>),
    Reference { id: u32, acquired: bool },
    Context { context: Context, entered: bool, depth: u32 },
}

/// Something that happened at an instruction.
#[derive(Clone, Debug)]
pub struct Event {
    pub insn_idx: u32,
    pub kind: EventKind,
}

/// The newest events of the path.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Event>,
    /// Events before them.
    dropped: u64,
}

impl History {
    pub fn end(&self) -> u64 {
        self.dropped + self.events.len() as u64
    }

    pub fn is_whole(&self) -> bool {
        self.dropped == 0
    }

    pub fn push(&mut self, event: Event) {
        if self.events.len() == MOST {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    pub fn go_back_to(&mut self, position: u64) {
        let keep = position.saturating_sub(self.dropped);
        if keep == 0 {
            self.dropped = position;
        }
        self.events.truncate(keep as usize);
    }

    /// The newest change of a place.
    pub fn last_change(&self, target: &Target) -> Option<&Modification> {
        self.events.iter().rev().find_map(|e| match &e.kind {
            EventKind::Modified(m) if m.target.concerns(target) => Some(&**m),
            _ => None,
        })
    }
}

/// What a causal path is about (`struct bpf_diag_history_opts`).
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    Value(Target),
    Reference(u32),
    Context(Context, u32),
}

/// The changes that led to a value, newest first, by number (`diag_build_lineage`).
fn lineage(env: &Env<'_>, history: &History, target: Target) -> Vec<usize> {
    let mut target = target;
    let mut found = Vec::new();
    for (i, event) in history.events.iter().enumerate().rev() {
        let EventKind::Modified(m) = &event.kind else { continue };
        if !m.target.concerns(&target) {
            continue;
        }
        found.push(i);
        if let Some(origin) = m.origin {
            target = origin;
        } else if matches!(m.why, Why::Write | Why::Spill) && !keeps_lineage(env, event.insn_idx, m)
        {
            break;
        }
    }
    found
}

/// The outermost region that is open, or 0 (`diag_history_context_start_idx`).
fn start_of_context(history: &History, context: Context, depth: u32) -> usize {
    if depth == 0 {
        return 0;
    }
    for (i, event) in history.events.iter().enumerate().rev() {
        match event.kind {
            EventKind::Context { context: c, entered, depth } if c == context => {
                match (entered, depth) {
                    (true, 1) => return i,
                    (false, 0) => return 0,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    0
}

fn start_of_reference(history: &History, id: u32) -> usize {
    let acquired =
        |e: &Event| matches!(e.kind, EventKind::Reference { id: i, acquired: true } if i == id);
    history.events.iter().rposition(acquired).unwrap_or(0)
}

/// Writes the causal path.
pub fn write(env: &Env<'_>, history: &History, scope: Scope, out: &mut String) {
    let lineage = match scope {
        Scope::Value(target) => lineage(env, history, target),
        _ => Vec::new(),
    };
    let start = match scope {
        Scope::Value(_) => lineage.last().copied().unwrap_or(0),
        Scope::Reference(id) => start_of_reference(history, id),
        Scope::Context(context, depth) => start_of_context(history, context, depth),
    };
    let is_shown = |(i, event): &(usize, &Event)| match (&event.kind, scope) {
        (EventKind::Branch { .. }, _) => true,
        (EventKind::Modified(_), _) => lineage.contains(i),
        (EventKind::Reference { id, .. }, Scope::Reference(of)) => *id == of,
        (EventKind::Context { context, .. }, Scope::Context(of, _)) => *context == of,
        _ => false,
    };
    let shown: Vec<&Event> =
        history.events.iter().enumerate().skip(start).filter(is_shown).map(|(_, e)| e).collect();
    out.push_str("\nCausal path:\n");
    let left_out = shown.len().saturating_sub(SHOWN);
    for (n, event) in shown.iter().enumerate() {
        let in_gap = (SHOWN / 2..SHOWN / 2 + left_out).contains(&n);
        if in_gap && n != SHOWN / 2 {
            continue;
        }
        if n != 0 {
            out.push('\n');
        }
        if in_gap {
            out.push_str(&format!("  {left_out} intermediate causal-history events omitted\n"));
        } else {
            let (label, note) = describe::event(env, event);
            source::write(env, out, event.insn_idx, label, &note);
        }
    }
    if shown.is_empty() {
        out.push_str("  no retained diagnostic events on this path\n");
    }
    if history.dropped != 0 {
        let (n, s) = (history.dropped, if history.dropped == 1 { "" } else { "s" });
        out.push_str(&format!(
            "  {n} older causal-history event{s} not retained because diagnostic event storage reached capacity\n"
        ));
    }
}
