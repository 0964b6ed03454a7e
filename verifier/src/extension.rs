//! Programs that attach to another program: one that replaces a global function of it (`freplace`), or traces one
//! (the `tgt_prog` half of `bpf_check_attach_target`; `btf_check_type_match` in `kernel/bpf/btf.c`).
//!
//! The other program is judged first; what the kernel keeps of an accepted one is [`TargetFacts`].  A replacement is
//! then judged as a program of its target's type whose first function has its arguments from BTF.

use std::sync::Arc;

use bpfassay_object::btf::{linkage, Btf, BtfKind, Type};
use bpfassay_object::model::{AttachTarget, Program};
use bpfassay_spec::{AttachType, ProgType};

use crate::attach_target::{check_distill, proto_of, AttachInfo};
use crate::config::Config;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::log::LogLevel;
use crate::report::Verdict;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// An accepted program that others attach to.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    pub prog_type: ProgType,
    pub expected_attach_type: Option<AttachType>,
    btf: Arc<Btf>,
    /// In the order of its function records.
    functions: Vec<Function>,
    /// What attaches, and to which of the functions.
    target: AttachTarget,
    /// The program replaces the function.
    pub replaces: bool,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    type_id: u32,
    unreliable: bool,
    changes_pkt_data: bool,
    might_sleep: bool,
    is_exception_cb: bool,
}

impl TargetFacts {
    /// Judges the program that `prog` attaches to; None where that is no program.
    ///
    /// # Errors
    /// A target that is not accepted: no loader gets as far as `prog`.
    pub fn of(prog: &Program, config: &Config<'_>) -> Check<Option<TargetFacts>> {
        let Some(target) = &prog.attach_target else { return Ok(None) };
        let Some(other) = &target.program else { return Ok(None) };
        let quiet = Config { log_level: LogLevel::QUIET, ..config.clone() };
        let mut functions = Vec::new();
        let report = crate::passes::verify_then(other, &quiet, &mut |env| functions = kept(env));
        let why = match report.verdict {
            Verdict::Accepted => None,
            Verdict::Rejected(_) => Some(report.message().unwrap_or("rejected").to_string()),
            Verdict::Unsupported(what) => Some(what),
        };
        if let Some(why) = why {
            let name = &other.name;
            return Err(Stop::unsupported(format!(
                "the program it attaches to, {name}, does not load: {why}"
            )));
        }
        let Some(btf) = other.btf.clone() else {
            return Err(Stop::unsupported("the program it attaches to has no BTF"));
        };
        Ok(Some(TargetFacts {
            prog_type: other.prog_type,
            expected_attach_type: other.expected_attach_type,
            btf,
            functions,
            target: target.clone(),
            replaces: prog.prog_type == ProgType::Ext,
        }))
    }

    /// The replacement as a program of its target's type.
    pub fn in_place(&self, prog: &Program) -> Program {
        Program {
            prog_type: self.prog_type,
            expected_attach_type: self.expected_attach_type,
            attach_target: None,
            ..prog.clone()
        }
    }
}

/// The functions that are left of an accepted program: those that no path reaches are dead code.
fn kept(env: &Env<'_>) -> Vec<Function> {
    let records = env.prog.func_info.iter().zip(&env.subprogs);
    let reached = |start: u32| env.aux.get(start as usize).is_some_and(|a| a.seen != 0);
    records
        .filter(|(_, sub)| reached(sub.start))
        .map(|(info, sub)| Function {
            type_id: info.type_id,
            unreliable: sub.unreliable,
            changes_pkt_data: sub.changes_pkt_data,
            might_sleep: sub.might_sleep,
            is_exception_cb: sub.is_exception_cb,
        })
        .collect()
}

/// Whether the function exists and allows it; fills [`Env::attach`] for what traces it.
pub fn check_attach(env: &mut Env<'_>, facts: &TargetFacts) -> Check {
    let (btf, id) = (&facts.btf, facts.target.btf_id);
    let Some(t) = btf.ty(id).filter(|t| t.id() != 0) else {
        verbose!(env, "attach_btf_id {id} is invalid\n");
        return Err(Errno::EINVAL.into());
    };
    let name = t.name();
    let Some(func) = facts.functions.iter().find(|f| f.type_id == id).copied() else {
        verbose!(env, "Subprog {name} doesn't exist\n");
        return Err(Errno::EINVAL.into());
    };
    let has_callbacks = env.kernel.features.exception_callbacks;
    if func.is_exception_cb && has_callbacks {
        if facts.replaces {
            verbose!(env, "Extension programs cannot attach to exception callback\n");
        } else {
            verbose!(env, words.traces_exception_callback);
        }
        return Err(Errno::EINVAL.into());
    }
    if facts.replaces {
        check_replacement(env, facts, func)?;
    }
    let is_tracing = |t| t == ProgType::Tracing;
    if !facts.replaces && is_tracing(facts.prog_type) {
        return Err(Stop::unsupported("tracing programs that trace a tracing program"));
    }
    if facts.replaces && facts.prog_type == ProgType::Ext {
        verbose!(env, "Cannot recursively attach\n");
        return Err(Errno::EINVAL.into());
    }
    let is_fentry = matches!(
        facts.expected_attach_type,
        Some(AttachType::TraceFentry | AttachType::TraceFexit | AttachType::TraceFsession)
    );
    if facts.replaces && is_tracing(facts.prog_type) && is_fentry {
        verbose!(env, words.extends_tracer);
        return Err(Errno::EINVAL.into());
    }
    if !facts.replaces {
        check_kind(env)?;
    }
    if t.kind() != BtfKind::Func {
        verbose!(env, "attach_btf_id {id} is not a function\n");
        return Err(Errno::EINVAL.into());
    }
    if facts.replaces {
        check_type_match(env, btf, t)?;
    }
    let proto = proto_of(t)?;
    // Where a function is not what its BTF says, any arguments will do.
    let proto = (!func.unreliable).then_some(proto);
    if let Some(proto) = proto {
        check_distill(env, btf, proto, name)?;
    }
    if facts.replaces {
        return Ok(());
    }
    check_tracer(env, name)?;
    env.btfs.push(Some(Arc::clone(btf)));
    env.attach = Some(Arc::new(AttachInfo {
        btf: BtfObj(env.btfs.len() as u32 - 1),
        btf_id: id,
        name: name.to_string(),
        proto,
        is_trace: false,
        args: Vec::new(),
        of_program: Some(facts.prog_type),
    }));
    Ok(())
}

fn check_replacement(env: &mut Env<'_>, facts: &TargetFacts, func: Function) -> Check {
    let refuse = |env: &mut Env<'_>, why: &str| {
        verbose!(env, "{why}\n");
        Err(Errno::EINVAL.into())
    };
    if func.unreliable {
        return refuse(env, "Cannot replace static functions");
    }
    let own = (env.subprogs[0].changes_pkt_data, env.subprogs[0].might_sleep);
    let first = facts.functions.first().copied();
    // A program of one function keeps this of the whole.
    let theirs = if facts.functions.len() > 1 { Some(func) } else { first };
    let theirs = theirs.map_or((false, false), |f| (f.changes_pkt_data, f.might_sleep));
    if env.kernel.features.packet_changes_known && own.0 && !theirs.0 {
        return refuse(env, "Extension program changes packet data, while original does not");
    }
    if env.kernel.features.sleeping_globals_known && own.1 && !theirs.1 {
        return refuse(env, "Extension program may sleep, while original does not");
    }
    Ok(())
}

/// Programs are traced at their beginning and end only.
fn check_kind(env: &mut Env<'_>) -> Check {
    match env.prog.expected_attach_type {
        Some(AttachType::TraceRawTp) => {
            verbose!(env, words.traces_program_otherwise);
            Err(Errno::EINVAL.into())
        }
        Some(AttachType::TraceFentry | AttachType::TraceFexit | AttachType::ModifyReturn) => Ok(()),
        Some(AttachType::TraceFsession) if env.kernel.features.fsession_programs => Ok(()),
        Some(AttachType::TraceIter) => {
            Err(Stop::unsupported("an iterator that attaches to a program"))
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// A program may not be slept in, nor its result changed.
fn check_tracer(env: &mut Env<'_>, name: &str) -> Check {
    if env.prog_sleepable {
        verbose!(env, "{name} is not sleepable\n");
        return Err(Errno::EINVAL.into());
    }
    if env.prog.expected_attach_type == Some(AttachType::ModifyReturn) {
        verbose!(env, "can't modify return codes of BPF programs\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// The program's first function has the other's prototype (`btf_check_type_match`).
fn check_type_match(env: &mut Env<'_>, other: &Btf, func: Type<'_>) -> Check {
    let Some(info) = env.prog.func_info.first().copied() else {
        verbose!(env, "Program extension requires BTF\n");
        return Err(Errno::EINVAL.into());
    };
    let own = env.prog.btf.clone().ok_or(Errno::EFAULT)?;
    let own_func = own.ty(info.type_id).filter(|t| t.kind() == BtfKind::Func);
    let own_func = own_func.ok_or(Errno::EINVAL)?;
    match mismatch((&own, own_func), (other, func)) {
        None => Ok(()),
        Some(why) => {
            verbose!(env, "{why}\n");
            Err(Errno::EINVAL.into())
        }
    }
}

/// What `btf_check_func_type_match` says of two functions that differ.
fn mismatch((btf1, f1): (&Btf, Type<'_>), (btf2, f2): (&Btf, Type<'_>)) -> Option<String> {
    let (fn1, fn2) = (f1.name(), f2.name());
    for f in [f1, f2] {
        if f.linkage() != linkage::GLOBAL {
            return Some(format!("{}() is not a global function", f.name()));
        }
    }
    let proto1 = f1.target().filter(|t| t.kind() == BtfKind::FuncProto)?;
    let proto2 = f2.target().filter(|t| t.kind() == BtfKind::FuncProto)?;
    let (n1, n2) = (proto1.vlen(), proto2.vlen());
    if n1 != n2 {
        return Some(format!("{fn1}() has {n1} args while {fn2}() has {n2} args"));
    }
    let plain1 = |id: u32| Plain::of(btf1, id);
    let plain2 = |id: u32| Plain::of(btf2, id);
    let (r1, r2) = (plain1(proto1.type_id()), plain2(proto2.type_id()));
    if r1.info() != r2.info() {
        return Some(format!(
            "Return type {} of {fn1}() doesn't match type {} of {fn2}()",
            r1.word(),
            r2.word()
        ));
    }
    for (i, (a1, a2)) in proto1.params().zip(proto2.params()).enumerate() {
        let (t1, t2) = (plain1(a1.type_id), plain2(a2.type_id));
        if t1.info() != t2.info() {
            let (w1, w2) = (t1.word(), t2.word());
            return Some(format!("arg{i} in {fn1}() is {w1} while {fn2}() has {w2}"));
        }
        if let (Some(s1), Some(s2)) = (t1.size(), t2.size()) {
            if s1 != s2 {
                return Some(format!("arg{i} in {fn1}() has size {s1} while {fn2}() has {s2}"));
            }
        }
        if t1.kind() == BtfKind::Int || t1.kind().is_any_enum() {
            continue;
        }
        if t1.kind() != BtfKind::Ptr {
            return Some(format!("arg{i} in {fn1}() has unrecognized type"));
        }
        let (p1, p2) = (plain1(t1.target()), plain2(t2.target()));
        for (p, name) in [(&p1, fn1), (&p2, fn2)] {
            if !p.kind().is_composite() {
                return Some(format!("arg{i} in {name}() is not a pointer to context"));
            }
        }
        let (s1, s2) = (p1.name(), p2.name());
        if s1 != s2 {
            return Some(format!("arg{i} {fn1}(struct {s1} *) doesn't match {fn2}(struct {s2} *)"));
        }
    }
    None
}

/// A type past its qualifiers and typedefs; void has none.
struct Plain<'b>(Option<Type<'b>>);

impl<'b> Plain<'b> {
    fn of(btf: &'b Btf, id: u32) -> Plain<'b> {
        Plain(btf.skip_mods_and_typedefs(id).filter(|t| !t.is_void()))
    }

    fn kind(&self) -> BtfKind {
        self.0.map_or(BtfKind::Unkn, |t| t.kind())
    }

    /// The word that the kernel compares: kind, number of members, and the flag beside them.
    fn info(&self) -> (BtfKind, usize, bool) {
        self.0.map_or((BtfKind::Unkn, 0, false), |t| (t.kind(), t.vlen(), t.kflag()))
    }

    fn word(&self) -> &'static str {
        self.kind().kernel_name()
    }

    fn name(&self) -> &'b str {
        self.0.map_or("", |t| t.name())
    }

    fn target(&self) -> u32 {
        self.0.map_or(0, |t| t.type_id())
    }

    /// Bytes, of kinds that have a size of their own.
    fn size(&self) -> Option<u32> {
        let kind = self.kind();
        let has = kind.is_composite()
            || kind.is_any_enum()
            || matches!(kind, BtfKind::Int | BtfKind::Float | BtfKind::Datasec);
        self.0.filter(|_| has).map(|t| t.size())
    }
}
