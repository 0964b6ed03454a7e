//! Registers and events in a report's words (`diag_reg_snapshot`, `bpf_diag_reg_type_plain`).

use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::history::{Event, EventKind, Modification, Place, Snapshot, Target, Why};
use crate::check::trust::{is_alloc_obj, is_non_owning_ref};
use crate::domain::reg::{BtfObj, MapId, RegState};
use crate::domain::state::RefKind;
use crate::domain::tnum::Tnum;
use crate::env::Env;
use crate::log::names::AltHex;

/// What a register holds, with its article.
pub fn plain_type(env: &Env<'_>, ty: RegType) -> String {
    let nullable = ty.may_be_null();
    let words = match ty.base() {
        RegBase::NotInit => "an uninitialized value",
        RegBase::Scalar => "an integer scalar",
        RegBase::Ctx => "a context pointer",
        RegBase::Stack => "a stack pointer",
        RegBase::MapValue if nullable => "a nullable map value pointer",
        RegBase::MapValue => "a map value pointer",
        RegBase::Mem if nullable => "a nullable memory pointer",
        RegBase::Mem => "a memory pointer",
        RegBase::BtfId if nullable => "a nullable kernel object pointer",
        RegBase::BtfId if is_non_owning_ref(ty) => "a borrowed allocated object pointer",
        RegBase::BtfId if is_alloc_obj(ty) => "an owned allocated object pointer",
        RegBase::BtfId if ty.has(TypeFlags::PTR_UNTRUSTED) => "an untrusted kernel object pointer",
        RegBase::BtfId => "a kernel object pointer",
        _ => return env.type_name(ty).to_string(),
    };
    words.to_owned()
}

/// `value + addend`, or that it does not fit (`bpf_diag_fmt_s64_sum`).
pub fn sum(value: i64, addend: i32) -> String {
    match value.checked_add(addend.into()) {
        Some(sum) => sum.to_string(),
        None => {
            let side = if addend < 0 { "below S64_MIN" } else { "above S64_MAX" };
            format!("{value} plus {addend} ({side})")
        }
    }
}

fn bounds((smin, smax): (i64, i64), (umin, umax): (u64, u64)) -> String {
    let signed = |n: i64| match n {
        i64::MIN => "S64_MIN".to_owned(),
        i64::MAX => "S64_MAX".to_owned(),
        n => n.to_string(),
    };
    let unsigned = |n: u64| if n == u64::MAX { "U64_MAX".to_owned() } else { n.to_string() };
    format!(
        "signed range [{}, {}], unsigned range [{}, {}]",
        signed(smin),
        signed(smax),
        unsigned(umin),
        unsigned(umax)
    )
}

fn is_unknown(t: Tnum, signed: (i64, i64), unsigned: (u64, u64)) -> bool {
    t.is_unknown() && signed == (i64::MIN, i64::MAX) && unsigned == (0, u64::MAX)
}

fn bits(t: Tnum) -> String {
    format!("known bits {}, unknown mask {}", AltHex(t.value), AltHex(t.mask))
}

/// The offset of an access of a register, `off` added (`diag_access_offset`).
pub fn access_offset(off: i32, reg: &RegState) -> String {
    let (signed, unsigned) = ((reg.smin, reg.smax), (reg.umin, reg.umax));
    if reg.var_off.is_const() {
        return format!("constant {}", sum(reg.var_off.value as i64, off));
    }
    if is_unknown(reg.var_off, signed, unsigned) {
        return "unbounded".to_owned();
    }
    let fixed = if off == 0 { String::new() } else { format!(", plus fixed offset {off}") };
    format!("variable: {}{fixed}; {}", bits(reg.var_off), bounds(signed, unsigned))
}

pub fn lock_name(kind: RefKind) -> &'static str {
    match kind {
        RefKind::Lock => "bpf_spin_lock",
        RefKind::ResLock => "resource spin lock",
        RefKind::ResLockIrq => "IRQ-saving resource spin lock",
        RefKind::Ptr | RefKind::Irq => "lock",
    }
}

/// `(struct task_struct)`
pub fn btf_type(env: &Env<'_>, btf: BtfObj, id: u32) -> String {
    env.btf(btf).map_or_else(|| format!("BTF type ID {id}"), |b| type_text(b, id))
}

/// A type as BTF shows it, in parentheses, with a star for each pointer to it (`bpf_diag_fmt_btf_type`).
pub fn type_text(btf: &Btf, id: u32) -> String {
    let mut stars = String::new();
    let mut ty = btf.ty(id);
    while let Some(t) = ty.filter(|t| t.kind() == BtfKind::Ptr) {
        stars.push('*');
        ty = btf.skip_mods(t.type_id());
    }
    let Some(t) = ty else { return format!("BTF type ID {id}") };
    let sep = if stars.is_empty() { "" } else { " " };
    format!("({}{sep}{stars})", words_of(t))
}

/// A struct or other named type as BTF shows it.
pub fn named_type(t: Type<'_>) -> String {
    format!("({})", words_of(t))
}

fn words_of(t: Type<'_>) -> String {
    let prefix = match t.kind() {
        BtfKind::Struct => "struct",
        BtfKind::Union => "union",
        BtfKind::Enum | BtfKind::Enum64 => "enum",
        _ => "",
    };
    let name = if t.is_void() { "void" } else { t.name() };
    let sep = if prefix.is_empty() || name.is_empty() { "" } else { " " };
    format!("{prefix}{sep}{name}")
}

fn offset(s: &Snapshot) -> String {
    if s.var_off.is_const() {
        format!("at offset {}", s.var_off.value as i64)
    } else if is_unknown(s.var_off, s.signed, s.unsigned) {
        "with unknown offset".to_owned()
    } else {
        format!("with variable offset: {}, {}", bits(s.var_off), bounds(s.signed, s.unsigned))
    }
}

fn scalar(s: &Snapshot) -> String {
    if s.var_off.is_const() {
        format!("integer scalar value {}", s.var_off.value as i64)
    } else if is_unknown(s.var_off, s.signed, s.unsigned) {
        "integer scalar with unknown value".to_owned()
    } else if s.signed.0 == s.signed.1 && s.unsigned.0 == s.unsigned.1 {
        format!("integer scalar value {}", s.signed.0)
    } else {
        format!("integer scalar with {}", bounds(s.signed, s.unsigned))
    }
}

/// A register as an event shows it.
fn snapshot(env: &Env<'_>, s: &Snapshot) -> String {
    let map_name = |m: MapId| env.map(m).def.name.clone();
    let map = s.map.map(map_name).filter(|n| !n.is_empty());
    let btf = s.btf.map(|(b, id)| btf_type(env, b, id));
    let of_type = |what: &str| match &btf {
        Some(btf) => format!("{what} type={btf}"),
        None => what.to_owned(),
    };
    if s.ty == RegBase::Scalar {
        return scalar(s);
    }
    if s.ty == RegBase::NotInit {
        return "uninitialized value".to_owned();
    }
    match s.ty.base() {
        RegBase::Ctx => format!("context pointer {}", offset(s)),
        RegBase::Stack => format!("stack pointer {}", offset(s)),
        RegBase::MapValue => {
            let kind = if s.ty.may_be_null() { "nullable map value" } else { "map value" };
            let from = map.map_or(String::new(), |m| format!(" from {m}"));
            format!("{kind}{from} {}", offset(s))
        }
        RegBase::ConstMapPtr => {
            map.map_or("map pointer".to_owned(), |m| format!("map pointer for map {m}"))
        }
        _ if is_non_owning_ref(s.ty) => of_type("borrowed allocated object pointer"),
        _ if is_alloc_obj(s.ty) => of_type("owned allocated object pointer"),
        RegBase::BtfId if btf.is_some() => {
            format!("{} {}", of_type(&env.type_name(s.ty).to_string()), offset(s))
        }
        _ => format!("{} {}", env.type_name(s.ty), offset(s)),
    }
}

fn target(t: &Target) -> String {
    match t.place {
        Place::Reg(r) => format!("R{r}"),
        Place::Slot(spi) => format!("stack slot fp{}", -(i32::from(spi) + 1) * 8),
        Place::Range(..) => "value".to_owned(),
    }
}

/// Label and note of an event.
pub fn event(env: &Env<'_>, event: &Event) -> (&'static str, String) {
    match &event.kind {
        EventKind::Branch { taken } => {
            let (branch, goto) =
                if *taken { ("true", "followed") } else { ("false", "not followed") };
            ("branch", format!("took the {branch} branch of this conditional, goto {goto}"))
        }
        EventKind::Modified(m) => modification(env, m),
        EventKind::Reference { id, acquired } => {
            (if *acquired { "acquired" } else { "released" }, format!("owned resource (id={id})"))
        }
        EventKind::Context { context, entered, depth } => {
            let verb = if *entered { "entered" } else { "left" };
            ("context", format!("{verb} {}; depth is now {depth}", context.name()))
        }
    }
}

fn modification(env: &Env<'_>, m: &Modification) -> (&'static str, String) {
    if let Place::Range(min, max) = m.target.place {
        let note =
            format!("variable-offset stack write may affect bytes fp{min} through fp{}", max - 1);
        return ("invalidated", note);
    }
    let is_reg = matches!(m.target.place, Place::Reg(_));
    let reason = match m.why {
        Why::Release if is_reg => "resource release invalidated this pointer",
        Why::Release => "resource release invalidated this value",
        Why::PacketChange => "packet data may have moved",
        Why::NonOwning => "leaving the protected region invalidated this borrowed pointer",
        Why::CallerSaved => "call invalidated this caller-saved register",
        Why::Write if !is_reg => "a later stack write overwrote this spilled value",
        Why::Write | Why::Spill | Why::VarWrite => {
            let label = if m.why == Why::Spill { "spilled" } else { "update" };
            let (old, new) = (snapshot(env, &m.before), snapshot(env, &m.after));
            return (label, format!("{} changed from {old} to {new}", target(&m.target)));
        }
    };
    let old = snapshot(env, &m.before);
    ("invalidated", format!("{}: {reason}; previous value was {old}", target(&m.target)))
}
