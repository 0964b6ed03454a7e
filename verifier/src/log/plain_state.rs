//! Registers and slots as kernels before 6.8 print them: every bound by its own rule, spilled registers by type.

use std::fmt::Write;

use bpfassay_spec::RegBase;

use super::names::TypeWords;
use super::state::{slot_char, Printer};
use super::Log;
use crate::domain::reg::RegState;
use crate::domain::stack::StackSlot;

/// A register behind its name and `=`.
pub(super) fn reg(p: &Printer<'_>, log: &mut Log, reg: &RegState) {
    let scalar = reg.ty == RegBase::Scalar;
    let named = p.words == TypeWords::Whole;
    if scalar {
        scalar_name(p, log, reg);
    }
    if (scalar || reg.ty == RegBase::Stack) && reg.var_off.is_const() {
        if !scalar {
            let _ = write!(log, "{}", p.words.name(reg.ty));
        }
        let _ = write!(log, "{}", (reg.var_off.value as i64).wrapping_add(i64::from(reg.off)));
        return;
    }
    if !(scalar && named) {
        let _ = write!(log, "{}", p.words.name(reg.ty));
    }
    if reg.base() == RegBase::BtfId {
        let name = reg.btf().map_or("", |b| p.type_name(b, reg.btf_id()));
        let _ = log.write_str(name);
    }
    let _ = log.write_str("(");
    let mut fields = Fields { log, sep: "", all: named, value: if named { "_value" } else { "" } };
    fields.of(p, reg);
    let _ = log.write_str(")");
}

/// What stands before a scalar's value: its precision, and its name where every type has one.
fn scalar_name(p: &Printer<'_>, log: &mut Log, reg: &RegState) {
    if p.words == TypeWords::Whole {
        let _ = write!(log, "{}", p.words.name(reg.ty));
    }
    if reg.precise {
        let _ = log.write_str("P");
    }
}

/// Fields of a list with commas between them.
struct Fields<'l> {
    log: &'l mut Log,
    sep: &'static str,
    /// Ids are printed even if there are none.
    all: bool,
    /// Ends the names of bounds.
    value: &'static str,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.log, "{}{name}={value}", self.sep);
        self.sep = ",";
    }

    fn bound(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.log, "{}{name}{}={value}", self.sep, self.value);
        self.sep = ",";
    }

    fn of(&mut self, p: &Printer<'_>, reg: &RegState) {
        let base = reg.base();
        if self.all || reg.id != 0 {
            self.put("id", reg.id as i32);
        }
        if may_be_refcounted_or_null(reg, self.all) && (self.all || reg.ref_obj_id != 0) {
            self.put("ref_obj_id", reg.ref_obj_id as i32);
        }
        if reg.ty != RegBase::Scalar {
            self.put("off", reg.off);
        }
        match base {
            RegBase::Packet | RegBase::PacketMeta => self.put("r", reg.range()),
            RegBase::ConstMapPtr | RegBase::MapKey | RegBase::MapValue => {
                if let Some(map) = reg.map().and_then(|m| p.maps.get(m.0 as usize)) {
                    self.put("ks", map.def.key_size as i32);
                    self.put("vs", map.def.value_size as i32);
                }
            }
            _ => {}
        }
        if reg.var_off.is_const() {
            return self.put("imm", format_args!("{:x}", reg.var_off.value));
        }
        self.bounds(reg);
    }

    fn bounds(&mut self, reg: &RegState) {
        if reg.smin as u64 != reg.umin && reg.smin != i64::MIN {
            self.bound("smin", reg.smin);
        }
        if reg.smax as u64 != reg.umax && reg.smax != i64::MAX {
            self.bound("smax", reg.smax);
        }
        if reg.umin != 0 {
            self.bound("umin", reg.umin);
        }
        if reg.umax != u64::MAX {
            self.bound("umax", reg.umax);
        }
        if !reg.var_off.is_unknown() {
            self.put("var_off", reg.var_off);
        }
        if i64::from(reg.s32_min) != reg.smin && reg.s32_min != i32::MIN {
            self.bound("s32_min", reg.s32_min);
        }
        if i64::from(reg.s32_max) != reg.smax && reg.s32_max != i32::MAX {
            self.bound("s32_max", reg.s32_max);
        }
        if u64::from(reg.u32_min) != reg.umin && reg.u32_min != 0 {
            self.bound("u32_min", reg.u32_min as i32);
        }
        if u64::from(reg.u32_max) != reg.umax && reg.u32_max != u32::MAX {
            self.bound("u32_max", reg.u32_max as i32);
        }
    }
}

/// Kinds that may stand for a reference or be NULL (`reg_type_may_be_refcounted_or_null`); where every field is
/// printed, pointers to kernel types are none of them.
fn may_be_refcounted_or_null(reg: &RegState, all: bool) -> bool {
    let base = reg.base();
    matches!(base, RegBase::Socket | RegBase::TcpSock | RegBase::Mem)
        || base == RegBase::BtfId && !all
}

/// A slot behind its name and `=`.
pub(super) fn slot(p: &Printer<'_>, log: &mut Log, slot: &StackSlot) {
    if !slot.is_spilled_reg() {
        for k in slot.kind {
            let _ = log.write_char(slot_char(k));
        }
        return;
    }
    let reg = &slot.spilled;
    if !reg.is_scalar() {
        let _ = write!(log, "{}", p.words.name(reg.ty));
        return;
    }
    scalar_name(p, log, reg);
    if reg.var_off.is_const() {
        let _ = write!(log, "{}", (reg.var_off.value as i64).wrapping_add(i64::from(reg.off)));
    }
}
