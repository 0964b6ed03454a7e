//! The verifier's passes in the kernel's order (`bpf_check`).

use std::ops::ControlFlow;
use std::sync::Arc;

use bpfassay_isa::{decode, Insn, RawInsn};
use bpfassay_object::model::Program;
use bpfassay_spec::{HelperTable, MapType, RegBase, TypeFlags};

use crate::cfg::{const_regs, live_regs, order, walk, Cfg};
use crate::check::callinfo::CallTables;
use crate::check::{btf_fields, btf_info, summary};
use crate::config::Config;
use crate::domain::state::{FuncState, VerifierState};
use crate::env::{AuxUse, Env, InsnAux, SubprogInfo};
use crate::explore::account::Account;
use crate::explore::era::{Era, Loops};
use crate::explore::{backtrack, entry, liveness, stack_use, trail, Explorer};
use crate::extension::TargetFacts;
use crate::log::{Log, LogLevel};
use crate::report::{MemoryUse, Report, Stats, Trail, Verdict};
use crate::stop::{Check, Errno, Stop};
use crate::{attach, fastcall, late, ldimm64, precheck, stack_depth, subprogs, trace, verbose};

/// `commit_stack_write_marks` holds the old must-write set in 32 bits, so that slots from fp-264 down
/// can count as written where they are not.
const QUIRK_MUST_WRITE_32: &str = "liveness-must-write-32-bits";

/// Sees the states that exploring passes through; changes nothing.
pub trait Observer {
    /// The instruction at `insn_idx` is about to be checked in `state`; `live` has a bit for each register that
    /// is alive before it.  Who has seen enough breaks off, and the program is then not judged.
    fn entered(&self, insn_idx: u32, state: &VerifierState, live: u16) -> ControlFlow<()>;
}

/// Judges a program with every scalar taken for precise, and shows the states.
///
/// Each run of an accepted program then lies inside some state shown at each instruction, live registers of the
/// innermost frame by live registers: nothing is covered by a state that merely did not care.  The verdict may
/// differ from [`verify`]'s where more states are too many.
pub fn verify_observed<'a>(
    prog: &'a Program,
    config: &'a Config<'a>,
    observer: &'a dyn Observer,
) -> Report {
    if let Err(stop) = precheck::check_load(prog, config) {
        return bare_report(stop);
    }
    let mut env = new_env(prog, config);
    env.observer = Some(observer);
    env.all_precise = true;
    let result = run(&mut env);
    report(env, result)
}

/// Judges a program: the one entry point.
pub fn verify(prog: &Program, config: &Config<'_>) -> Report {
    judge(prog, config, Watch::default(), &mut |_| ())
}

/// As [`verify`]; who accepted it is shown what it found out.
pub(crate) fn verify_then(
    prog: &Program,
    config: &Config<'_>,
    accepted: &mut dyn FnMut(&Env<'_>),
) -> Report {
    judge(prog, config, Watch::default(), accepted)
}

/// Judges a program as [`verify`] does, and shows the states that this takes.
///
/// A run of an accepted program may leave them: where a scalar did not matter, another value of it is covered.
pub fn verify_shown<'a>(
    prog: &'a Program,
    config: &'a Config<'a>,
    observer: &'a dyn Observer,
) -> Report {
    let watch = Watch { observer: Some(observer), ..Watch::default() };
    judge(prog, config, watch, &mut |_| ())
}

/// As [`verify`], and the path on which exploring stopped ([`Report::trail`]).
pub fn verify_recorded(prog: &Program, config: &Config<'_>) -> Report {
    judge(prog, config, Watch { records: true, ..Watch::default() }, &mut |_| ())
}

/// Who looks on while a program is judged.
#[derive(Clone, Copy, Default)]
struct Watch<'a> {
    observer: Option<&'a dyn Observer>,
    /// The path is kept.
    records: bool,
}

fn judge<'a>(
    prog: &'a Program,
    config: &'a Config<'a>,
    watch: Watch<'a>,
    accepted: &mut dyn FnMut(&Env<'_>),
) -> Report {
    if let Err(stop) = precheck::check_load(prog, config) {
        let lacking = precheck::privilege_refusal(prog, config).map(|(_, why)| why);
        let lacking = lacking.filter(|_| matches!(stop, Stop::Reject(_)));
        return Report { lacking, ..bare_report(stop) };
    }
    match TargetFacts::of(prog, config) {
        Ok(None) => judge_loaded(prog, config, watch, None, accepted),
        Ok(Some(facts)) if facts.replaces => {
            let prog = facts.in_place(prog);
            judge_loaded(&prog, config, watch, Some(Arc::new(facts)), accepted)
        }
        Ok(Some(facts)) => judge_loaded(prog, config, watch, Some(Arc::new(facts)), accepted),
        Err(stop) => bare_report(stop),
    }
}

/// A program that the kernel looks into.
fn judge_loaded<'a>(
    prog: &'a Program,
    config: &'a Config<'a>,
    watch: Watch<'a>,
    target: Option<Arc<TargetFacts>>,
    accepted: &mut dyn FnMut(&Env<'_>),
) -> Report {
    let mut env = new_env(prog, config);
    env.target_program = target.clone();
    env.observer = watch.observer;
    env.recorder = watch.records.then(Box::default);
    if let Err(e) = btf_fields::load_struct_metas(&mut env) {
        return without_btf(prog, config, e, watch, accepted);
    }
    let result = run(&mut env);
    if result.is_ok() {
        accepted(&env);
    }
    if env.explore.liveness.stale_writes && env.quirk.is_none() {
        // The kernel may have forgotten slots that are read: see whether that decided the verdict.
        let mut exact = new_env(prog, config);
        exact.log = Log::new(LogLevel::QUIET, config.log_limit);
        exact.explore.liveness.exact_writes = true;
        exact.struct_metas = env.struct_metas.clone();
        exact.target_program = target;
        if run(&mut exact) != result {
            env.quirk = Some(QUIRK_MUST_WRITE_32);
        }
    }
    report(env, result)
}

/// The kernel refuses the object's BTF for a struct in it: loaders go on without BTF, unless a struct_ops map needs it.
fn without_btf(
    prog: &Program,
    config: &Config<'_>,
    errno: Errno,
    watch: Watch<'_>,
    accepted: &mut dyn FnMut(&Env<'_>),
) -> Report {
    let what = format!("the kernel refuses the program's BTF (errno {})", errno.0);
    if prog.maps.iter().any(|m| m.map_type == MapType::StructOps) {
        return bare_report(Stop::unsupported(what));
    }
    let plain = Program { btf: None, func_info: Vec::new(), line_info: Vec::new(), ..prog.clone() };
    let mut report = judge(&plain, config, watch, accepted);
    report.notes.push(format!("{what}: judged as loaded without it"));
    report
}

fn run(env: &mut Env<'_>) -> Check {
    explore(env)?;
    late_passes(env)
}

/// Everything up to the last explored path.
fn explore(env: &mut Env<'_>) -> Check {
    summary::resolve_helpers(env);
    btf_info::check_btf_info_early(env)?;
    subprogs::add_subprog_and_kfunc(env)?;
    subprogs::check_subprogs(env)?;
    btf_info::check_btf_info(env)?;
    let target_first = !env.kernel.features.target_after_graph;
    if target_first {
        attach::check_attach_btf_id(env)?;
    }
    ldimm64::resolve_pseudo_ldimm64(env)?;
    walk::check_cfg(env)?;
    order::compute_postorder(env);
    liveness::init(env);
    if !target_first {
        attach::check_attach_btf_id(env)?;
    }
    if env.kernel.features.dead_branches_pruned {
        const_regs::compute_const_regs(env)?;
        const_regs::prune_dead_branches(env);
    }
    let analysed = env.kernel.features.static_stack_liveness;
    if analysed {
        order::sort_subprogs(env)?;
    }
    if env.explore.era.loops == Loops::Components {
        order::compute_scc(env);
    }
    if analysed {
        stack_use::compute(env)?;
    }
    if env.explore.era.has_static_regs() {
        live_regs::compute_live_registers(env);
    }
    record_live(env);
    fastcall::mark_fastcall_patterns(env);
    env.explore.concerned = env.insns.iter().map(|i| backtrack::concerned_regs(*i)).collect();
    if env.kernel.features.globals_on_demand {
        entry::do_check_main(env)?;
        entry::do_check_subprogs(env)
    } else {
        entry::do_check_subprogs(env)?;
        entry::do_check_main(env)
    }
}

/// Who explains a rejection asks which registers are free, whatever the kernel's era knows of it.
fn record_live(env: &mut Env<'_>) {
    let Some(mut recorder) = env.recorder.take() else { return };
    let known: Vec<u16> = env.aux.iter().map(|a| a.live_regs_before).collect();
    if !env.explore.era.has_static_regs() {
        let level = std::mem::take(&mut env.log.level);
        live_regs::compute_live_registers(env);
        env.log.level = level;
    }
    recorder.set_live(env.aux.iter().map(|a| a.live_regs_before).collect());
    for (aux, live) in env.aux.iter_mut().zip(known) {
        aux.live_regs_before = live;
    }
    env.recorder = Some(recorder);
}

/// Passes after exploration that can still reject; rewriting instructions is not ours.
fn late_passes(env: &mut Env<'_>) -> Check {
    fastcall::remove_fastcall_spills_fills(env);
    stack_depth::check_max_stack_depth(env)?;
    env.explored_subprogs = env.subprogs.iter().map(|s| (s.start, s.stack_depth)).collect();
    late::account_for_rewrites(env)
}

fn new_env<'a>(prog: &'a Program, config: &'a Config<'a>) -> Env<'a> {
    let n = prog.insns.len();
    let features = &config.kernel.features;
    let by_subprogram = features.statistics_by_subprogram || features.statistics_of_globals;
    let account = Account::new(by_subprogram && config.log_level.has_stats());
    let mut btfs = vec![prog.btf.clone(), config.vmlinux.clone()];
    btfs.extend(config.modules.iter().map(|(_, b)| Some(b.clone())));
    Env {
        config,
        kernel: config.kernel,
        prog,
        insns: prog.insns.clone(),
        decoded: decode_all(&prog.insns),
        aux: vec![InsnAux::default(); n],
        subprogs: Vec::new(),
        explored_subprogs: Vec::new(),
        exception_callback_subprog: None,
        maps: Vec::new(),
        map_of_def: vec![None; prog.maps.len()],
        struct_metas: Default::default(),
        helpers: HelperTable::default(),
        btfs,
        attach: None,
        target_program: None,
        cfg: Cfg::default(),
        const_regs: Vec::new(),
        cur: VerifierState::new(FuncState::new(-1, 0, 0)),
        insn_idx: 0,
        prev_insn_idx: u32::MAX,
        cur_hist_ent: None,
        explore: Explorer { era: Era::of(&config.kernel.features), account, ..Explorer::default() },
        calls: CallTables::default(),
        id_gen: 0,
        wrong_links: Vec::new(),
        log: Log::new(config.log_level, config.log_limit),
        scratched_regs: 0,
        scratched_slots: 0,
        prev_log_pos: 0,
        prev_insn_print_pos: 0,
        prev_linfo: None,
        stats: Stats::default(),
        jmps_processed: 0,
        max_stack: 0,
        max_ctx_offset: 0,
        ctx_unconverted: false,
        prev_insn_processed: 0,
        prev_jmps_processed: 0,
        pass_cnt: 0,
        strict_alignment: prog.flags.strict_alignment && !prog.flags.any_alignment,
        test_state_freq: prog.flags.test_state_freq && config.caps.bpf,
        test_reg_invariants: prog.flags.test_reg_invariants,
        allow_ptr_leaks: config.caps.perfmon,
        allow_uninit_stack: config.caps.perfmon,
        bpf_capable: config.caps.bpf,
        bypass_spec_v1: config.caps.perfmon,
        bypass_spec_v4: config.caps.perfmon,
        explore_alu_limits: false,
        seen_direct_write: false,
        seen_exception: false,
        prog_sleepable: prog.flags.sleepable,
        quirk: None,
        observer: None,
        all_precise: false,
        diagnostics: crate::diagnostics::Diagnostics::new(config.kernel, config.log_level),
        recorder: None,
    }
}

/// What 7.3 says of each subprogram.
fn print_subprograms(env: &mut Env<'_>) {
    verbose!(env, "stack depth max {}\n", env.max_stack);
    // What throwing adds behind the program is no subprogram of it (`hidden_subprog_cnt`).
    let own = |s: &&SubprogInfo| (s.start as usize) < env.prog.insns.len();
    for i in 0..env.subprogs.iter().filter(own).count() {
        let sub = &env.subprogs[i];
        let name = if sub.is_named { entry::subprog_name(env, i as u32) } else { String::new() };
        let name = if name.is_empty() { "<unknown>" } else { name.as_str() };
        let kind = match i {
            0 => "main",
            _ if sub.is_global => "global",
            _ => "static",
        };
        let (own, total, stack) = (sub.insns_self, sub.insns_total, sub.stack_depth);
        verbose!(
            env,
            "subprog {i} ({name}) {kind} insns_self {own} insns_total {total} stack {stack}\n"
        );
    }
}

/// Decodes every slot once; second slots of LD_IMM64 stay None.
fn decode_all(insns: &[RawInsn]) -> Vec<Option<Insn>> {
    let mut out = vec![None; insns.len()];
    let mut i = 0;
    while i < insns.len() {
        out[i] = decode(insns[i], insns.get(i + 1).copied()).ok();
        i += if insns[i].is_ld_imm64() { 2 } else { 1 };
    }
    out
}

/// The line every log ends with, preceded by time and stack depths on demand (`print_verification_stats`).
fn print_verification_stats(env: &mut Env<'_>) {
    if env.log.level.has_stats() {
        verbose!(env, "verification time 0 usec\n");
        let depths: Vec<String> = env.subprogs.iter().map(|s| s.stack_depth.to_string()).collect();
        if env.kernel.features.statistics_by_subprogram {
            print_subprograms(env);
        } else if env.kernel.features.statistics_of_globals {
            trace!(env, "stack depth {} max {}\n", depths.join("+"), env.max_stack);
            let counted = env.subprogs.iter().enumerate().filter(|(i, s)| *i == 0 || s.is_global);
            let counts: Vec<String> = counted.map(|(_, s)| s.insns_total.to_string()).collect();
            trace!(env, "insns processed {}\n", counts.join("+"));
        } else {
            verbose!(env, "stack depth {}\n", depths.join("+"));
        }
    }
    let s = env.stats;
    let counters = [
        ("processed ", s.insns_processed),
        (" insns (limit ", env.kernel.limits.max_processed_insns),
        (") max_states_per_insn ", s.max_states_per_insn),
        (" total_states ", s.total_states),
        (" peak_states ", s.peak_states),
        (" mark_read ", s.mark_read),
    ];
    for (what, n) in counters {
        env.log.say(what);
        env.log.say_number(n);
    }
    env.log.say("\n");
}

fn report(mut env: Env<'_>, result: Check) -> Report {
    let message_lines = env.log.last_words();
    print_verification_stats(&mut env);
    let insn_idx = (env.stats.insns_processed > 0 && result.is_err()).then_some(env.insn_idx);
    let trail = trail::trail(&mut env);
    Report {
        verdict: match result {
            Ok(()) => Verdict::Accepted,
            Err(Stop::Reject(e)) => Verdict::Rejected(e),
            Err(Stop::Unsupported(what)) => Verdict::Unsupported(what.into()),
        },
        message_lines,
        insn_idx,
        quirk: env.quirk,
        stats: env.stats,
        stack_depths: env.subprogs.iter().map(|s| u32::from(s.stack_depth)).collect(),
        max_stack: env.max_stack,
        max_ctx_offset: env.max_ctx_offset,
        insn_visits: env.aux.iter().map(|a| a.visits).collect(),
        memory: env.aux.iter().map(|a| memory_use(a.used)).collect(),
        private_stacks: env
            .subprogs
            .iter()
            .filter(|s| s.priv_stack == Some(true))
            .map(|s| s.start)
            .collect(),
        notes: Vec::new(),
        lacking: None,
        trail,
        log: env.log.into_text(),
    }
}

fn memory_use(used: AuxUse) -> MemoryUse {
    let AuxUse::Ptr(ty) = used else { return MemoryUse::Plain };
    let untrusted = ty.flags().intersects(TypeFlags::PTR_UNTRUSTED);
    match ty.base() {
        RegBase::Arena => MemoryUse::Arena,
        RegBase::ConstMapPtr => MemoryUse::MapField,
        // Trusted pointers need no net, but one does no harm.
        RegBase::BtfId => MemoryUse::Probe,
        RegBase::Mem if untrusted => MemoryUse::Probe,
        _ => MemoryUse::Plain,
    }
}

/// What the system call says without starting the verifier.
fn bare_report(stop: Stop) -> Report {
    Report {
        verdict: match stop {
            Stop::Reject(e) => Verdict::Rejected(e),
            Stop::Unsupported(what) => Verdict::Unsupported(what.into()),
        },
        message_lines: Vec::new(),
        insn_idx: None,
        quirk: None,
        stats: Stats::default(),
        stack_depths: Vec::new(),
        max_stack: 0,
        max_ctx_offset: 0,
        insn_visits: Vec::new(),
        private_stacks: Vec::new(),
        memory: Vec::new(),
        notes: Vec::new(),
        lacking: None,
        trail: Trail::default(),
        log: String::new(),
    }
}
