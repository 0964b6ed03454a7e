//! What instructions read and write through pointers into frames (`record_load_store_access`,
//! `record_call_access`, `bpf_helper_stack_access_bytes`, `bpf_kfunc_stack_access_bytes`).

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_isa::{decode, Insn, RawInsn, Reg};
use bpfassay_object::btf::{BtfKind, Param};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{func, ArgBase, ProtoLookup, TypeFlags};

use super::flow::Args;
use super::track::{Offsets, Track};
use super::{Halves, Instance};
use crate::check::kfunc::fetch_kfunc_meta;
use crate::check::kfunc_arg::KfParam;
use crate::check::summary::{get_call_summary, lookup_helper};
use crate::domain::reg::MapId;
use crate::env::Env;

const MAX_STACK: i64 = 512;
const DYNPTR_SIZE: i64 = 16;

/// Bytes accessed from a pointer on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bytes {
    None,
    Read(i64),
    Write(i64),
    /// Up to the frame pointer, possibly.
    Unknown,
}

impl Bytes {
    fn of(size: i64, written: bool) -> Bytes {
        match size {
            0 => Bytes::None,
            size if written => Bytes::Write(size),
            size => Bytes::Read(size),
        }
    }
}

/// Records what the instruction accesses.
pub fn record(env: &Env<'_>, pass: &mut Instance, at: &Args, idx: u32) {
    let insn = env.insns[idx as usize];
    if let Some((reg, bytes)) = plain_access(insn) {
        let ptr = match at[reg as usize] {
            Track::Frame(f, o) if !o.is_any() => Track::Frame(f, o.moved(insn.off.into())),
            other => other,
        };
        record_through(pass, ptr, bytes, idx);
    } else if insn.class() == Class::Jmp && insn.jmp_op() == JmpCode::Call && !insn.is_src_reg() {
        record_call(env, pass, at, idx);
    }
}

fn plain_access(insn: RawInsn) -> Option<(u8, Bytes)> {
    let size = i64::from(insn.size().bytes());
    let (read, write) = (Bytes::Read(size), Bytes::Write(size));
    Some(match insn.class() {
        Class::Ldx => (insn.src, read),
        Class::Stx if insn.mode() == Mode::Atomic => match decode(insn, None) {
            Ok(Insn::StoreRelease { .. }) => (insn.dst, write),
            Ok(Insn::LoadAcquire { .. }) => (insn.src, read),
            _ => (insn.dst, read),
        },
        Class::Stx | Class::St => (insn.dst, write),
        _ => return None,
    })
}

fn record_through(pass: &mut Instance, ptr: Track, bytes: Bytes, idx: u32) {
    match ptr {
        _ if bytes == Bytes::None => {}
        Track::Frame(f, offs) if f as usize <= pass.depth => {
            record_offsets(pass, f as usize, offs, bytes, idx);
        }
        Track::Imprecise(mask) => {
            let frames = (0..=pass.depth).filter(|f| mask >> f & 1 != 0);
            frames.for_each(|f| pass.mark_read(f, idx, Halves::MAX));
        }
        _ => {}
    }
}

fn record_offsets(pass: &mut Instance, frame: usize, offs: Offsets, bytes: Bytes, idx: u32) {
    let writes = matches!(bytes, Bytes::Write(_));
    if offs.is_any() {
        if !writes {
            pass.mark_read(frame, idx, Halves::MAX);
        }
        return;
    }
    if writes && offs.as_slice().len() != 1 {
        return;
    }
    for off in offs.as_slice().iter().filter(|o| **o < 0) {
        let below = -i64::from(*off);
        match bytes {
            Bytes::Unknown => pass.mark_read(frame, idx, halves(0, (below - 1) / 4)),
            Bytes::Read(n) => {
                pass.mark_read(frame, idx, halves(((below - n) / 4).max(0), (below - 1) / 4));
            }
            Bytes::Write(n) => {
                let (low, high) = (((below - n + 3) / 4).max(0), below / 4 - 1);
                if low <= high {
                    pass.mark_write(frame, idx, halves(low, high));
                }
            }
            Bytes::None => {}
        }
    }
}

/// Halves `low` to `high`, both included; those beyond the stack do not exist.
fn halves(low: i64, high: i64) -> Halves {
    let upto = |n: i64| if n >= 128 { Halves::MAX } else { (1 << n.max(0)) - 1 };
    upto(high + 1) & !upto(low)
}

fn record_call(env: &Env<'_>, pass: &mut Instance, at: &Args, idx: u32) {
    let insn = env.insns[idx as usize];
    if insn.is_pseudo_call() {
        return;
    }
    let params = get_call_summary(env, idx).map_or(5, |s| usize::from(s.num_params).min(5));
    for arg in 0..params {
        let ptr = at[arg + 1];
        if !ptr.is_fp() {
            continue;
        }
        if insn.is_helper_call() {
            record_through(pass, ptr, helper_bytes(env, insn, arg, idx), idx);
        } else if insn.is_kfunc_call() {
            record_through(pass, ptr, kfunc_bytes(env, insn, arg, idx), idx);
        } else {
            pass.mark_all_read(idx);
        }
    }
}

/// The constant in the register after an argument.
fn size_after(env: &Env<'_>, arg: usize, idx: u32) -> Option<i64> {
    let known = env.const_regs.get(idx as usize)?;
    known.constant(Reg(arg as u8 + 2)).map(i64::from)
}

fn helper_bytes(env: &Env<'_>, insn: RawInsn, arg: usize, idx: u32) -> Bytes {
    let ProtoLookup::Proto(proto) = lookup_helper(env, insn.imm) else { return Bytes::Unknown };
    let ty = proto.args[arg];
    let uninit = ty.flags().intersects(TypeFlags::MEM_UNINIT);
    let size = match ty.base() {
        base @ (ArgBase::MapKey | ArgBase::MapValue) => {
            let is_key = base == ArgBase::MapKey;
            let map_arg = proto.args[..arg].iter().position(|a| a.base() == ArgBase::ConstMapPtr);
            let known = env.const_regs.get(idx as usize);
            let map = map_arg.and_then(|i| known?.map(Reg(i as u8 + 1)));
            match map_size(env, map, is_key) {
                Some(size) => size,
                None => return Bytes::Unknown,
            }
        }
        ArgBase::Mem if ty.flags().intersects(TypeFlags::MEM_FIXED_SIZE) => {
            i64::from(proto.arg_size[arg])
        }
        ArgBase::Mem => {
            let sized = proto
                .args
                .get(arg + 1)
                .is_some_and(|a| matches!(a.base(), ArgBase::ConstSize | ArgBase::ConstSizeOrZero));
            match size_after(env, arg, idx) {
                _ if !sized => return Bytes::Unknown,
                Some(size) => size,
                None if uninit => return Bytes::None,
                None => return Bytes::Read(MAX_STACK),
            }
        }
        ArgBase::Dynptr => DYNPTR_SIZE,
        ArgBase::Stack => return Bytes::None,
        _ => return Bytes::Unknown,
    };
    Bytes::of(size, uninit)
}

/// Key or value size of a map; the largest of all maps where the map is not known.
fn map_size(env: &Env<'_>, map: Option<MapId>, is_key: bool) -> Option<i64> {
    let size =
        |m: &crate::env::MapInfo| i64::from(if is_key { m.def.key_size } else { m.def.value_size });
    match map {
        Some(map) => Some(size(env.map(map))),
        None => env.maps.iter().map(size).max().filter(|s| *s != 0),
    }
}

fn kfunc_bytes(env: &Env<'_>, insn: RawInsn, arg: usize, idx: u32) -> Bytes {
    let Ok(meta) = fetch_kfunc_meta(env, insn) else { return Bytes::Unknown };
    let Some(btf) = env.btf(meta.btf) else { return Bytes::Unknown };
    let Some(proto) = btf.ty(meta.proto_id) else { return Bytes::Unknown };
    let params: Vec<Param> = proto.params().collect();
    let param = |i: usize| params.get(i).map(|p| KfParam::new(btf, *p));
    let Some(p) = param(arg) else { return Bytes::None };
    let Some(ptr) = btf.skip_mods_and_typedefs(p.type_id).filter(|t| t.kind() == BtfKind::Ptr)
    else {
        return Bytes::None;
    };
    let pointee = btf.skip_mods_and_typedefs(ptr.type_id());
    let sized = param(arg + 1).is_some_and(|n| n.has("__sz") || n.has("__szk"));
    let size = if pointee.is_some_and(|t| t.name() == "bpf_dynptr") {
        DYNPTR_SIZE
    } else if sized {
        match size_after(env, arg, idx) {
            Some(size) => size,
            None => return Bytes::Read(MAX_STACK),
        }
    } else {
        match pointee.and_then(|t| btf.size_of(t.id())) {
            Some(size) => i64::from(size),
            None => return Bytes::Unknown,
        }
    };
    let written = (arg == 0 && meta.has(KfuncFlags::ITER_NEW)) || p.has("__uninit");
    Bytes::of(size, written)
}

/// What a helper that runs a callback hands it.
pub struct Handed {
    /// None where it is not always the same function.
    pub subprog: Option<u32>,
    pub from: Reg,
    pub to: Reg,
}

/// `find_callback_subprog`
pub fn handed_to_callback(env: &Env<'_>, idx: u32) -> Option<Handed> {
    let insn = env.insns[idx as usize];
    if !env.aux(idx).calls_callback || !insn.is_helper_call() {
        return None;
    }
    let (callback, from, to) = match insn.imm {
        func::LOOP | func::USER_RINGBUF_DRAIN => (Reg::R2, Reg::R3, Reg::R2),
        func::FOR_EACH_MAP_ELEM => (Reg::R2, Reg::R3, Reg::R4),
        func::FIND_VMA => (Reg::R3, Reg::R4, Reg::R3),
        _ => return None,
    };
    let subprog = env.const_regs.get(idx as usize).and_then(|k| k.subprog(callback));
    Some(Handed { subprog, from, to })
}
