//! What a comparison teaches about pointers: null checks and packet ends
//! (`mark_ptr_or_null_regs`, `try_match_pkt_pointers`, `find_good_pkt_pointers`, `is_pkt_ptr_branch_taken`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bpfassay_isa::{Cond, Reg};
use bpfassay_spec::{Kernel, RegBase, RegType, TypeFlags};

use super::mark::mark_not_null;
use crate::check::btf_record::{BtfRecord, FieldKinds};
use crate::domain::compare::flip;
use crate::domain::reg::{BtfObj, RegState, AT_PKT_END, BEYOND_PKT_END};
use crate::domain::state::VerifierState;
use crate::env::MapInfo;
use crate::mutation::{self, Mutation};

/// What turning a pointer non-null looks up.
pub struct Records<'a> {
    pub kernel: &'a Kernel,
    pub maps: &'a [MapInfo],
    pub struct_metas: &'a BTreeMap<u32, Arc<BtfRecord>>,
}

impl Records<'_> {
    /// Special fields behind a pointer (`reg_btf_record`).
    fn record(&self, reg: &RegState) -> Option<&BtfRecord> {
        if reg.ty == RegBase::MapValue {
            return reg.map().and_then(|m| self.maps.get(m.0 as usize)?.record.as_deref());
        }
        if is_alloc_obj(reg.ty) && reg.btf() == Some(BtfObj::PROG) {
            return self.struct_metas.get(&reg.btf_id()).map(|r| &**r);
        }
        None
    }

    fn may_point_to_spin_lock(&self, reg: &RegState) -> bool {
        self.record(reg).is_some_and(|r| r.has(FieldKinds::SPIN_LOCK | FieldKinds::RES_SPIN_LOCK))
    }
}

fn is_alloc_obj(ty: RegType) -> bool {
    ty.base() == RegBase::BtfId && ty.has(TypeFlags::MEM_ALLOC)
}

/// Marks every register with the id of `r` null or not null (`mark_ptr_or_null_regs`).
pub fn mark_ptr_or_null_regs(st: &mut VerifierState, records: &Records<'_>, r: Reg, is_null: bool) {
    let reg = *st.cur().reg(r);
    // No one can have released what was not known to be there.
    if reg.ref_obj_id != 0 && reg.ref_obj_id == reg.id && is_null {
        st.release_ptr_ref(reg.id);
    }
    let id = reg.id;
    st.update_matching(
        |r| r.ty.may_be_null() && r.id == id && (r.ty.has(TypeFlags::MEM_RCU) || r.id != 0),
        |r| mark_ptr_or_null_reg(r, records, is_null),
    );
}

fn mark_ptr_or_null_reg(reg: &mut RegState, records: &Records<'_>, is_null: bool) {
    if mutation::has(Mutation::Cve2022_23222) {
        reg.set_known_value(0);
        reg.off = 0;
    }
    // Arithmetic on what may be null is refused, so an offset here means a kernel function put it there.
    let f = records.kernel.features;
    if f.pointer_offset_whole {
        if !is_alloc_obj(reg.ty) && !reg.var_off.equals_const(0) {
            return;
        }
    } else {
        if reg.smin != 0 || reg.smax != 0 || !reg.var_off.equals_const(0) {
            return;
        }
        if !is_alloc_obj(reg.ty) && reg.off != 0 {
            return;
        }
    }
    if is_null {
        if f.id_survives_null_check {
            reg.mark_known_zero();
        }
        reg.ty = RegType::of(RegBase::Scalar);
        reg.id = 0;
        reg.ref_obj_id = 0;
        return;
    }
    mark_not_null(records.kernel, records.maps, reg);
    // Locks are told apart by id.
    if !f.id_survives_null_check && !records.may_point_to_spin_lock(reg) {
        reg.id = 0;
    }
}

fn is_pkt_pointer(reg: &RegState) -> bool {
    matches!(reg.base(), RegBase::Packet | RegBase::PacketMeta)
}

/// `reg_is_pkt_pointer_any`
pub fn is_pkt_pointer_any(reg: &RegState) -> bool {
    is_pkt_pointer(reg) || reg.ty == RegBase::PacketEnd
}

/// Packet data as the context gave it (`reg_is_init_pkt_pointer`).
fn is_init_packet(reg: &RegState) -> bool {
    reg.ty == RegBase::Packet && reg.id == 0 && reg.off == 0 && reg.var_off.equals_const(0)
}

/// Whether an earlier comparison with the packet's end decides this one.
pub fn is_pkt_ptr_branch_taken(dst: &RegState, src: &RegState, cond: Cond) -> Option<bool> {
    let (pkt, cond) = if src.ty == RegBase::PacketEnd {
        (dst, cond)
    } else if dst.ty == RegBase::PacketEnd {
        (src, flip(cond))
    } else {
        return None;
    };
    let beyond = pkt.range() == BEYOND_PKT_END;
    let at_or_beyond = beyond || pkt.range() == AT_PKT_END;
    match cond {
        Cond::Le | Cond::Gt if beyond => Some(cond == Cond::Gt),
        Cond::Lt | Cond::Ge if at_or_beyond => Some(cond == Cond::Ge),
        _ => None,
    }
}

/// Which of two compared pointers moves through the packet.
enum Moving {
    Dst,
    Src,
}

fn moving_pointer(dst: &RegState, src: &RegState) -> Option<Moving> {
    let before_end = |a: &RegState, b: &RegState| {
        (a.ty == RegBase::Packet && b.ty == RegBase::PacketEnd)
            || (a.ty == RegBase::PacketMeta && is_init_packet(b))
    };
    if before_end(dst, src) {
        Some(Moving::Dst)
    } else if before_end(src, dst) {
        Some(Moving::Src)
    } else {
        None
    }
}

/// A comparison of a packet pointer with the packet's end (or of metadata with the packet's start) gives the
/// pointers of the same base a range where it is not beyond, and marks the pointer where it is.
/// False if this is no such comparison.
pub fn try_match_pkt_pointers(
    this: &mut VerifierState,
    other: &mut VerifierState,
    cond: Cond,
    dst: Reg,
    src: Reg,
    max_packet_off: u32,
    whole: bool,
) -> bool {
    let (dst_reg, src_reg) = (*this.cur().reg(dst), *this.cur().reg(src));
    let Some(moving) = moving_pointer(&dst_reg, &src_reg) else {
        return false;
    };
    let (r, reg, cond) = match moving {
        Moving::Dst => (dst, dst_reg, cond),
        Moving::Src => (src, src_reg, flip(cond)),
    };
    // From here on: `reg cond end`.  `within` is the branch on which the pointer is not beyond the end.
    let (within, beyond) = match cond {
        Cond::Gt | Cond::Ge => (this, other),
        Cond::Lt | Cond::Le => (other, this),
        _ => return false,
    };
    // Not `reg > end`: reg <= end, so bytes before it are readable.  Not `reg >= end`: one byte more.
    let excludes_end = matches!(cond, Cond::Ge | Cond::Lt);
    find_good_pkt_pointers(within, &reg, excludes_end, max_packet_off, whole);
    mark_pkt_end(beyond, r, !excludes_end);
    true
}

fn find_good_pkt_pointers(
    st: &mut VerifierState,
    proved: &RegState,
    right_open: bool,
    max: u32,
    whole: bool,
) {
    let max = max as u64;
    let range = if whole {
        if (proved.umax == 0 && right_open) || proved.umax > max {
            return;
        }
        proved.umax as i32 + right_open as i32
    } else {
        if proved.off < 0 || (proved.off == 0 && right_open) {
            return;
        }
        if proved.umax > max || proved.umax.wrapping_add(proved.off as u64) > max {
            return;
        }
        proved.off + right_open as i32
    };
    st.update_matching(
        |r| r.ty == proved.ty && r.id == proved.id && r.range() < range,
        |r| r.set_range(range),
    );
}

/// Packet pointers only; metadata is not followed this way.
fn mark_pkt_end(st: &mut VerifierState, r: Reg, beyond: bool) {
    let reg = st.cur_mut().reg_mut(r);
    if reg.ty == RegBase::Packet {
        reg.set_range(if beyond { BEYOND_PKT_END } else { AT_PKT_END });
    }
}
