//! The report that ends a rejection: category, reason, place in the source, what led there, and a suggestion
//! (`kernel/bpf/diagnostics.c` of 7.3).
//!
//! Rooms say what they change by [`begin`] and [`end`] and what they refuse by [`report`]; nothing here decides
//! anything.  What is written is part of the log, not of the message.  Without a log level that prints
//! instructions, and before 7.3, nothing is recorded.

mod describe;
mod history;
mod source;
mod text;
pub mod words;

use std::fmt::Display;

use bpfassay_isa::field::{AluCode, Class};
use bpfassay_isa::Reg;
use bpfassay_spec::RegBase;

pub use describe::{named_type, plain_type, sum, type_text};
pub use history::{Context, Event, Place, Target, Why};
use history::{EventKind, History, Modification, Scope, Snapshot};
pub use words::Wording;

use crate::domain::reg::RegState;
use crate::domain::stack::SlotType;
use crate::domain::state::RefState;
use crate::env::Env;

/// What is recorded on the way.
#[derive(Debug, Default)]
pub struct Diagnostics {
    history: History,
    open: Option<Open>,
    /// Frames entered so far: a frame is known by its number among them.
    frames: u32,
}

/// A modification that has begun.
#[derive(Debug)]
struct Open {
    target: Target,
    origin: Option<Target>,
    why: Why,
    before: RegState,
    insn_idx: u32,
}

impl Diagnostics {
    /// Where the kernel keeps such records at this log level (`bpf_diag_init`).
    pub fn new(kernel: &bpfassay_spec::Kernel, level: crate::log::LogLevel) -> Option<Box<Self>> {
        (kernel.features.rejections_reported && level.prints_insns()).then(Box::default)
    }

    /// Events on the path so far (`bpf_diag_event_log_save`).
    pub fn position(&self) -> u64 {
        self.history.end()
    }

    /// Another path is taken up, which left this one there (`bpf_diag_event_log_restore`).
    pub fn go_back_to(&mut self, position: u64) {
        self.history.go_back_to(position);
    }

    /// The number of a frame just entered (`bpf_diag_init_frame`).
    pub fn next_frame(&mut self) -> u32 {
        self.frames += 1;
        self.frames
    }
}

/// What a report's causal path follows.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// The report has no such path.
    Nothing,
    /// A register of the innermost frame.
    Reg(Reg),
    /// An acquired reference.
    Reference(u32),
    /// Regions of this kind, so many of them entered.
    Context(Context, u32),
}

fn target(env: &Env<'_>, frameno: u32, place: Place) -> Option<Target> {
    let frame = env.cur.frames().nth(frameno as usize)?;
    Some(Target { frame_id: frame.report_id, frameno, place })
}

fn register<'e>(env: &'e Env<'_>, target: &Target) -> Option<&'e RegState> {
    let frame = env.cur.frames().nth(target.frameno as usize)?;
    if frame.report_id != target.frame_id {
        return None;
    }
    match target.place {
        Place::Reg(r) => frame.regs.get(r as usize),
        Place::Slot(spi) => frame.stack().get(spi as usize).map(|s| &s.spilled),
        Place::Range(..) => None,
    }
}

/// A register or spilled register is about to change; `origin` is where its new value comes from
/// (`bpf_diag_mod_begin`).
#[inline]
pub fn begin(
    env: &mut Env<'_>,
    frameno: u32,
    place: Place,
    origin: Option<(u32, Place)>,
    why: Why,
) {
    if env.diagnostics.is_some() {
        open(env, frameno, place, origin, why);
    }
}

#[cold]
fn open(env: &mut Env<'_>, frameno: u32, place: Place, origin: Option<(u32, Place)>, why: Why) {
    let found = target(env, frameno, place);
    let open = found.and_then(|target| Some((target, *register(env, &target)?)));
    let origin = origin.and_then(|(f, p)| self::target(env, f, p));
    let insn_idx = env.insn_idx;
    if let Some(d) = &mut env.diagnostics {
        d.open = open.map(|(target, before)| Open { target, origin, why, before, insn_idx });
    }
}

/// As [`begin`], for a register of the innermost frame that an instruction writes.
#[inline]
pub fn begin_reg(env: &mut Env<'_>, r: Reg) {
    let frame = env.cur.curframe();
    begin(env, frame, Place::Reg(r.0), None, Why::Write);
}

/// The change that has begun is done (`bpf_diag_mod_end`).
#[inline]
pub fn end(env: &mut Env<'_>) {
    if env.diagnostics.is_some() {
        close(env);
    }
}

#[cold]
fn close(env: &mut Env<'_>) {
    let Some(open) = env.diagnostics.as_mut().and_then(|d| d.open.take()) else { return };
    let Some(after) = register(env, &open.target).copied() else { return };
    let Open { target, origin, why, before, insn_idx } = open;
    record(env, insn_idx, target, why, Some(&before), Some(&after), origin);
}

/// A register or spilled register is about to be lost (`bpf_diag_record_scrub`).
pub fn scrub(env: &mut Env<'_>, frameno: u32, place: Place, why: Why) {
    if env.diagnostics.is_none() {
        return;
    }
    let Some(target) = target(env, frameno, place) else { return };
    let Some(reg) = register(env, &target).copied().filter(|r| r.ty != RegBase::NotInit) else {
        return;
    };
    let insn_idx = env.insn_idx;
    record(env, insn_idx, target, why, Some(&reg), None, None);
}

/// R1 to R5 of a frame are lost to a call (`bpf_diag_record_caller_saved`).
pub fn scrub_caller_saved(env: &mut Env<'_>, frameno: u32) {
    if env.diagnostics.is_some() {
        (1..=5).for_each(|r| scrub(env, frameno, Place::Reg(r), Why::CallerSaved));
    }
}

/// Every register and spilled register that `hit` picks is about to be lost.
pub fn scrub_all(env: &mut Env<'_>, why: Why, hit: impl Fn(&RegState) -> bool) {
    for (frame, place, _) in places_in(env, |k| k == SlotType::Spill, hit) {
        scrub(env, frame, place, why);
    }
}

/// Where `hit` holds, of registers and slots of some kinds, and what is there: frames from the outermost,
/// registers before slots (`bpf_for_each_reg_in_vstate_mask`).
pub fn places_in(
    env: &Env<'_>,
    kind: impl Fn(SlotType) -> bool,
    hit: impl Fn(&RegState) -> bool,
) -> Vec<(u32, Place, RegState)> {
    let mut found = Vec::new();
    if env.diagnostics.is_none() {
        return found;
    }
    for (frameno, frame) in (0..).zip(env.cur.frames()) {
        let regs = (0..).zip(&frame.regs).filter(|(_, r)| hit(r));
        found.extend(regs.map(|(r, reg)| (frameno, Place::Reg(r), *reg)));
        let slots = (0..).zip(frame.stack()).filter(|(_, s)| kind(s.kind[7]) && hit(&s.spilled));
        found.extend(slots.map(|(spi, s)| (frameno, Place::Slot(spi), s.spilled)));
    }
    found
}

/// These registers held something else before; each is a change of its own.
pub fn changed(env: &mut Env<'_>, before: Vec<(u32, Place, RegState)>) {
    for (frameno, place, old) in before {
        let Some(target) = target(env, frameno, place) else { continue };
        let new = register(env, &target).copied();
        let insn_idx = env.insn_idx;
        record(env, insn_idx, target, Why::Write, Some(&old), new.as_ref(), None);
    }
}

/// A store at a variable offset may have changed these bytes (`bpf_diag_record_scrub_stack`).
pub fn scrub_range(env: &mut Env<'_>, frameno: u32, min_off: i32, max_off: i32) {
    if env.diagnostics.is_none() {
        return;
    }
    if let Some(target) = target(env, frameno, Place::Range(min_off as i16, max_off as i16)) {
        let insn_idx = env.insn_idx;
        record(env, insn_idx, target, Why::VarWrite, None, None, None);
    }
}

fn record(
    env: &mut Env<'_>,
    insn_idx: u32,
    target: Target,
    why: Why,
    before: Option<&RegState>,
    after: Option<&RegState>,
    origin: Option<Target>,
) {
    let snapshot = |r: Option<&RegState>| r.map_or_else(Snapshot::default, Snapshot::of);
    let origin = origin.or_else(|| origin_by_insn(env, insn_idx, &target));
    let m = Modification { target, origin, before: snapshot(before), after: snapshot(after), why };
    let told = before.is_some() && after.is_some() && matches!(why, Why::Write | Why::Spill);
    let same = told && m.before == m.after && m.origin.is_none();
    if same && keeps_lineage(env, insn_idx, &m) {
        return;
    }
    push(env, insn_idx, EventKind::Modified(Box::new(m)));
}

/// Moves and stores say where the value comes from (`diag_mod_insn_origin`).
fn origin_by_insn(env: &Env<'_>, insn_idx: u32, target: &Target) -> Option<Target> {
    let insn = env.insns.get(insn_idx as usize)?;
    let place = Place::Reg(insn.src);
    let is_alu = matches!(insn.class(), Class::Alu | Class::Alu64);
    match target.place {
        Place::Reg(_) if is_alu && insn.alu_op() == AluCode::Mov && insn.is_src_reg() => {
            Some(Target { place, ..*target })
        }
        Place::Slot(_) if insn.class() == Class::Stx => {
            self::target(env, env.cur.curframe(), place)
        }
        _ => None,
    }
}

/// The register is what it was, changed (`diag_mod_keeps_lineage`).
fn keeps_lineage(env: &Env<'_>, insn_idx: u32, m: &Modification) -> bool {
    let Some(insn) = env.insns.get(insn_idx as usize) else { return false };
    m.why == Why::Write
        && matches!(m.target.place, Place::Reg(_))
        && matches!(insn.class(), Class::Alu | Class::Alu64)
        && !matches!(
            insn.alu_op(),
            AluCode::Mov | AluCode::Div | AluCode::Mod | AluCode::UndefinedE | AluCode::UndefinedF
        )
}

fn push(env: &mut Env<'_>, insn_idx: u32, kind: EventKind) {
    if let Some(d) = &mut env.diagnostics {
        d.history.push(Event { insn_idx, kind });
    }
}

/// The path came from a conditional jump at `from` (`bpf_diag_record_branch`).
#[inline]
pub fn note_branch(env: &mut Env<'_>, from: u32) {
    if env.diagnostics.is_some() && !env.cur.speculative {
        note_jump(env, from);
    }
}

#[cold]
fn note_jump(env: &mut Env<'_>, from: u32) {
    let Some(insn) = env.insns.get(from as usize).copied() else { return };
    use bpfassay_isa::field::JmpCode;
    let is_jump = matches!(insn.class(), Class::Jmp | Class::Jmp32);
    if !is_jump || matches!(insn.jmp_op(), JmpCode::Ja | JmpCode::Call | JmpCode::Exit) {
        return;
    }
    let (next, target) = (i64::from(from) + 1, crate::cfg::jump_target(insn, from));
    let here = i64::from(env.insn_idx);
    if next != target && (here == next || here == target) {
        push(env, from, EventKind::Branch { taken: here == target });
    }
}

/// A reference was acquired or released at `insn_idx`.
pub fn note_reference(env: &mut Env<'_>, insn_idx: u32, id: u32, acquired: bool) {
    push(env, insn_idx, EventKind::Reference { id, acquired });
}

/// A region was entered or left (`bpf_diag_record_context`); `depth` is how many are open now.
pub fn note_context(env: &mut Env<'_>, insn_idx: u32, context: Context, entered: bool, depth: u32) {
    push(env, insn_idx, EventKind::Context { context, entered, depth });
}

/// Values for the names in a [`Wording`].
pub type Values<'v> = &'v [(&'v str, &'v dyn Display)];

/// Writes a report about the instruction at `insn_idx`.
pub fn report(
    env: &mut Env<'_>,
    insn_idx: u32,
    wording: &Wording,
    about: About,
    values: Values<'_>,
) {
    report_with_lock(env, insn_idx, wording, about, values, None);
}

/// As [`report`]; `lock` is the one held (`bpf_diag_lock`).
pub fn report_with_lock(
    env: &mut Env<'_>,
    insn_idx: u32,
    wording: &Wording,
    about: About,
    values: Values<'_>,
    lock: Option<RefState>,
) {
    let Some(d) = env.diagnostics.take() else { return };
    let fill = |text: &str| text::filled(text, values);
    let (problem, reason) = (fill(wording.problem), fill(wording.reason));
    let error = if wording.error.is_empty() { problem.clone() } else { fill(wording.error) };
    let mut out = text::header(wording.category, &problem);
    out.push_str("\nReason:\n");
    out.push_str(&text::wrapped("  ", "  ", &reason));
    out.push_str("\nAt:\n");
    source::write(env, &mut out, insn_idx, "error", &error);
    if let Some(lock) = lock {
        out.push_str("\nActive lock:\n");
        let note =
            format!("active {} has verifier identity {}", describe::lock_name(lock.kind), lock.id);
        source::write(env, &mut out, lock.insn_idx, "acquired", &note);
    }
    if let Some(scope) = scope(env, about) {
        history::write(env, &d.history, scope, &mut out);
    }
    out.push_str("\nSuggestion:\n");
    out.push_str(&text::wrapped("  ", "  ", &fill(wording.suggestion)));
    crate::trace!(env, "{out}\n");
    env.diagnostics = Some(d);
}

fn scope(env: &Env<'_>, about: About) -> Option<Scope> {
    Some(match about {
        About::Nothing => return None,
        About::Reg(r) => Scope::Value(target(env, env.cur.curframe(), Place::Reg(r.0))?),
        About::Reference(id) => Scope::Reference(id),
        About::Context(context, depth) => Scope::Context(context, depth),
    })
}

/// A register is read that cannot be (`bpf_diag_unreadable_reg`).
pub fn report_unreadable(env: &mut Env<'_>, r: Reg) {
    let Some(d) = &env.diagnostics else { return };
    let last =
        target(env, env.cur.curframe(), Place::Reg(r.0)).and_then(|t| d.history.last_change(&t));
    let wording = if last.is_some_and(|m| m.after.is_uninit()) {
        &words::INVALIDATED
    } else if d.history.is_whole() {
        &words::NEVER_INITIALIZED
    } else {
        &words::UNREADABLE
    };
    let insn_idx = env.insn_idx;
    report(env, insn_idx, wording, About::Reg(r), &[("reg", &r.0)]);
}

/// A pointer is not what the access needs (`bpf_diag_invalid_deref`).
pub fn report_deref(env: &mut Env<'_>, insn_idx: u32, r: Reg, reg: &RegState, kind: Deref) {
    if env.diagnostics.is_none() {
        return;
    }
    let (wording, off) = match kind {
        Deref::Scalar => (&words::DEREF_SCALAR, 0),
        Deref::Nullable => (&words::DEREF_NULLABLE, 0),
        Deref::Modified(off) => (&words::DEREF_MODIFIED, off),
        Deref::Invalid => (&words::DEREF_INVALID, 0),
    };
    let ty = plain_type(env, reg.ty);
    report(env, insn_idx, wording, About::Reg(r), &[("reg", &r.0), ("type", &ty), ("off", &off)]);
}

/// Why a pointer cannot be followed (`enum bpf_diag_invalid_deref_kind`).
#[derive(Clone, Copy, Debug)]
pub enum Deref {
    Scalar,
    Nullable,
    /// It was moved by so many bytes and must not be.
    Modified(i64),
    Invalid,
}

/// An access may leave its object; `proof` says how (`bpf_diag_mem_bounds`).
pub fn report_bounds(
    env: &mut Env<'_>,
    r: Reg,
    reg: &RegState,
    proof: &str,
    access: (i32, i32, u32),
) {
    if env.diagnostics.is_none() {
        return;
    }
    let (off, size, mem_size) = access;
    let (ty, at) = (env.type_name(reg.ty).to_string(), describe::access_offset(off, reg));
    let insn_idx = env.insn_idx;
    let values: Values<'_> = &[
        ("proof", &proof),
        ("reg", &r.0),
        ("type", &ty),
        ("offset", &at),
        ("size", &size),
        ("mem_size", &mem_size),
    ];
    report(env, insn_idx, &words::OUTSIDE_BOUNDS, About::Reg(r), values);
}

/// An argument of a call is not what it must be (`bpf_diag_call_type`); `reason` and `suggestion` may hold names.
pub fn report_arg(
    env: &mut Env<'_>,
    r: Reg,
    (reason, suggestion): (&'static str, &'static str),
    values: Values<'_>,
) {
    if env.diagnostics.is_none() {
        return;
    }
    let ordinal = ["first", "second", "third", "fourth", "fifth"].get(r.index().wrapping_sub(1));
    let arg = match ordinal {
        Some(ordinal) => format!("{ordinal} argument (R{})", r.0),
        None => format!("argument R{}", r.0),
    };
    let reason = text::filled(reason, values);
    let wording = Wording { suggestion, ..words::CALL_ARGUMENT };
    let call = callee(env);
    let insn_idx = env.insn_idx;
    report(
        env,
        insn_idx,
        &wording,
        About::Reg(r),
        &[("arg", &arg), ("call", &call), ("reason", &reason)],
    );
}

/// The name of what the current instruction calls.
fn callee(env: &Env<'_>) -> String {
    let Some(insn) = env.insns.get(env.insn_idx as usize) else { return String::new() };
    let name = if insn.is_helper_call() {
        env.kernel.helper_name(insn.imm).to_owned()
    } else if insn.is_kfunc_call() {
        let btf = usize::try_from(insn.off).ok().and_then(|i| env.btfs.get(i + 1));
        btf.and_then(Option::as_deref).map_or("", |b| b.name(insn.imm as u32)).to_owned()
    } else {
        let target = i64::from(env.insn_idx) + i64::from(insn.imm) + 1;
        let subprog = crate::subprogs::find_subprog(env, target);
        subprog.map_or(String::new(), |s| crate::explore::entry::subprog_name(env, s))
    };
    if name.is_empty() {
        "call".to_owned()
    } else {
        name
    }
}

/// An operation that may sleep stands where nothing may (`bpf_diag_ctx_forbidden`).
pub fn report_forbidden(
    env: &mut Env<'_>,
    insn_idx: u32,
    operation: &str,
    suggestion: &'static str,
) {
    if env.diagnostics.is_none() {
        return;
    }
    let cur = &env.cur;
    let context = if cur.active_rcu_locks != 0 {
        Context::Rcu
    } else if cur.active_preempt_locks != 0 {
        Context::Preempt
    } else if cur.active_irq_id != 0 {
        Context::Irq
    } else if cur.active_locks != 0 {
        Context::Lock
    } else {
        Context::None
    };
    let depth = context_depth(env, context);
    let base =
        if context == Context::None { words::SLEEPS_IN_PROGRAM } else { words::SLEEPS_IN_REGION };
    let wording = Wording { suggestion, ..base };
    let (why, active) = (context.constraint(), context.active(depth));
    let about =
        if context == Context::None { About::Nothing } else { About::Context(context, depth) };
    let values: Values<'_> = &[
        ("operation", &operation),
        ("context", &context.name()),
        ("why", &why),
        ("active", &active),
    ];
    report(env, insn_idx, &wording, about, values);
}

/// How many regions of a kind are open.
pub fn context_depth(env: &Env<'_>, context: Context) -> u32 {
    use crate::domain::state::RefKind;
    let cur = &env.cur;
    match context {
        Context::Rcu => cur.active_rcu_locks,
        Context::Preempt => cur.active_preempt_locks,
        Context::Irq => cur.refs.iter().filter(|r| r.kind == RefKind::Irq).count() as u32,
        Context::Lock => cur.active_locks,
        Context::None => 0,
    }
}

/// An operation stands inside a region it must be outside of (`bpf_diag_ctx_active`).
pub fn report_inside(
    env: &mut Env<'_>,
    insn_idx: u32,
    operation: &str,
    context: Context,
    suggestion: &'static str,
) {
    let depth = context_depth(env, context);
    let wording = Wording { suggestion, ..words::INSIDE_REGION };
    let active = context.active(depth);
    let values: Values<'_> =
        &[("operation", &operation), ("context", &context.name()), ("active", &active)];
    report(env, insn_idx, &wording, About::Context(context, depth), values);
}

/// A region is left that was not entered (`bpf_diag_ctx_underflow`).
pub fn report_underflow(
    env: &mut Env<'_>,
    insn_idx: u32,
    operation: &str,
    context: Context,
    suggestion: &'static str,
) {
    let wording = Wording { suggestion, ..words::UNMATCHED_EXIT };
    let values: Values<'_> = &[("operation", &operation), ("context", &context.name())];
    report(env, insn_idx, &wording, About::Context(context, 0), values);
}

/// An operation needs a region around it (`bpf_diag_ctx_required`).
pub fn report_outside(
    env: &mut Env<'_>,
    insn_idx: u32,
    operation: &str,
    context: Context,
    suggestion: &'static str,
) {
    let wording = Wording { suggestion, ..words::OUTSIDE_REGION };
    let values: Values<'_> = &[("operation", &operation), ("context", &context.name())];
    report(env, insn_idx, &wording, About::Nothing, values);
}

/// The program may not do this (`bpf_diag_policy`).
pub fn report_policy(
    env: &mut Env<'_>,
    insn_idx: u32,
    operation: &str,
    (reason, suggestion): (&'static str, &'static str),
) {
    let wording = Wording { suggestion, ..words::POLICY };
    let values: Values<'_> = &[("operation", &operation), ("reason", &reason)];
    report(env, insn_idx, &wording, About::Nothing, values);
}
