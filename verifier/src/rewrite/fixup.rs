//! Single instructions and calls that become others (`do_misc_fixups`, `jit_subprogs`), and what is put before the
//! first one (`gen_prologue`).

use bpfassay_isa::field::{AluCode, Class, Mode};
use bpfassay_isa::opcode::{OFF_ADDR_SPACE_CAST, PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_VALUE};
use bpfassay_isa::{AluOp, Cond, Operand, RawInsn, Reg, Size, Width};
use bpfassay_object::btf::Btf;
use bpfassay_spec::map_ops::{gets_storage, is_map_op, map_op_symbol};
use bpfassay_spec::{func, AttachType, MapType, PacketAccess, ProgType, ProtoLookup};

use super::emit::{
    address, alu32, alu32_reg, alu64, alu64_reg, branch, call, exit, jump, load, neg, percpu,
    store, xchg, AX,
};
use super::layout::offset;
use super::lookup;
use super::patch::{Patched, Slot};
use super::Unknown;
use crate::env::{AuxUse, Env, InsnAux};
use crate::transfer::sanitize::{
    ALU_IMMEDIATE, ALU_NEG_VALUE, ALU_NON_POINTER, ALU_SANITIZE_DST, ALU_SANITIZE_SRC,
};

const GFP_ATOMIC: i32 = 0x820;
const GFP_KERNEL: i32 = 0xcc0;
/// `TC_ACT_SHOT`
const TC_ACT_SHOT: i32 = 2;

/// Puts in what a program that writes packets begins with; the slot to go on from.
pub(super) fn prologue(
    env: &Env<'_>,
    ops: &str,
    btf: &Btf,
    p: &mut Patched,
) -> Result<usize, Unknown> {
    let drop = match ops {
        "tc_cls_act" | "lwt_xmit" => TC_ACT_SHOT,
        "sk_skb" => 0,
        "tc_cls_act_dev_bound" => return Err(Unknown::Other("a device's program")),
        _ => return Ok(0),
    };
    if !env.seen_direct_write {
        return Ok(0);
    }
    let (r0, r1, r2, r6) = (Reg::R0, Reg::R1, Reg::R2, Reg::R6);
    let cloned = offset(btf, "sk_buff.__cloned_offset")?;
    let mut out = vec![
        load(Size::B, r6, r1, cloned),
        alu32(AluOp::And, r6, 1),
        branch(Width::W64, Cond::Eq, r6, 0, 7),
        alu64_reg(AluOp::Mov, r6, r1),
        alu64_reg(AluOp::Xor, r2, r2),
        helper(func::SKB_PULL_DATA),
        branch(Width::W64, Cond::Eq, r0, 0, 2),
        alu32(AluOp::Mov, r0, drop),
        exit(),
        alu64_reg(AluOp::Mov, r1, r6),
    ];
    let put = out.len();
    out.push(p.slots[0].clone());
    p.patch(0, out).ok_or(Unknown::JumpTooFar)?;
    p.push_targets(0, put).ok_or(Unknown::JumpTooFar)?;
    Ok(put)
}

/// A call of a helper by number, to become one of its function.
fn helper(id: i32) -> Slot {
    let mut slot = call("");
    (slot.insn.imm, slot.symbol) = (id, None);
    slot
}

/// The code of the same operation on the lower half.
fn as_narrow(insn: RawInsn) -> u8 {
    alu32(AluOp::Add, Reg::R0, 0).insn.code | insn.code & !(alu64(AluOp::Add, Reg::R0, 0).insn.code)
}

/// Rewrites every instruction, then the calls of functions.
pub(super) fn fix_all(env: &Env<'_>, btf: &Btf, p: &mut Patched) -> Result<(), Unknown> {
    let arena_unconverted = env.arena_is_unconverted();
    let mut extras = vec![0; p.subprogs.len()];
    let mut i = 0;
    while i < p.slots.len() {
        let insn = p.insn(i);
        if insn.is_ld_imm64() {
            let percpu_value = insn.src == PSEUDO_MAP_VALUE
                && p.slots[i]
                    .map
                    .is_some_and(|m| env.prog.maps[m as usize].map_type == MapType::PercpuArray);
            i += 2;
            if percpu_value && env.kernel.jit.percpu_insn {
                let (half, dst) = (p.slots[i - 1].clone(), Reg(insn.dst));
                p.patch(i - 1, vec![half, percpu(dst, dst)]).ok_or(Unknown::JumpTooFar)?;
                i += 1;
            }
            continue;
        }
        let sub = p.subprogs.partition_point(|(start, _)| *start as usize <= i) - 1;
        if insn.is_may_goto() {
            let (new, extra) = may_goto(env, insn, p.subprogs[sub].1);
            extras[sub] = extra;
            p.patch(i, new).ok_or(Unknown::JumpTooFar)?;
            i += if extra == TIMED { 7 } else { 4 };
            continue;
        }
        let is_cast = insn.class() == Class::Alu64
            && insn.alu_op() == AluCode::Mov
            && insn.is_src_reg()
            && insn.imm != 0;
        if is_cast {
            if insn.imm == 1 && insn.off == OFF_ADDR_SPACE_CAST || arena_unconverted {
                p.slots[i] = alu32_reg(AluOp::Mov, Reg(insn.dst), Reg(insn.src));
            }
            i += 1;
            continue;
        }
        if p.aux[i].needs_zext {
            p.slots[i].insn = RawInsn { code: as_narrow(insn), ..insn };
        }
        let insn = p.insn(i);
        let aux = p.aux[i];
        let known = arithmetic(insn, &aux).or_else(|| legacy_load(insn));
        let new = match known.or_else(|| aux.masks_address.then(|| masked_load(insn))) {
            Some(new) => Some(new),
            None if insn.is_call() && insn.src != PSEUDO_CALL && p.slots[i].symbol.is_none() => {
                called(env, btf, insn, &aux)?
            }
            None => None,
        };
        if let Some(new) = new {
            let grown = new.len() - 1;
            p.patch(i, new).ok_or(Unknown::JumpTooFar)?;
            i += grown;
        }
        i += 1;
    }
    for (sub, extra) in extras.into_iter().enumerate().filter(|(_, e)| *e > 0) {
        start_budget(p, sub, extra)?;
    }
    name_subprogs(p);
    Ok(())
}

/// Bytes of stack for the budget of `may_goto` loops: with the time they began, and without.
const TIMED: u16 = 16;
const UNTIMED: u16 = 8;
/// `BPF_MAX_TIMED_LOOPS`, `BPF_MAX_LOOPS`
const TIMED_LOOPS: i32 = 0xffff;
const MAX_LOOPS: i32 = 8 << 20;

/// The budget is counted down; `depth` is the stack of the function without it.
fn may_goto(env: &Env<'_>, insn: RawInsn, depth: u16) -> (Vec<Slot>, u16) {
    let (fp, timed) = (Reg::R10, env.kernel.jit.timed_may_goto);
    let extra = if timed { TIMED } else { UNTIMED };
    let at = -i32::from(depth + extra);
    let over = insn.off
        + if insn.off < 0 {
            -1
        } else if timed {
            5
        } else {
            2
        };
    let mut out = vec![
        load(Size::Dw, AX, fp, at),
        branch(Width::W64, Cond::Eq, AX, 0, over),
        alu64(AluOp::Sub, AX, 1),
    ];
    if timed {
        out.extend([
            branch(Width::W64, Cond::Ne, AX, 0, 2),
            alu64(AluOp::Mov, AX, at),
            call("arch_bpf_timed_may_goto"),
        ]);
    }
    out.push(store(Size::Dw, fp, at, Operand::Reg(AX)));
    (out, extra)
}

/// A function with such loops begins by filling its budget.
fn start_budget(p: &mut Patched, sub: usize, extra: u16) -> Result<(), Unknown> {
    let (start, depth) = p.subprogs[sub];
    let (start, at) = (start as usize, -i32::from(depth + extra));
    let fill = |off, n| store(Size::Dw, Reg::R10, off, Operand::Imm(n));
    let mut out = if extra == TIMED {
        vec![fill(at, TIMED_LOOPS), fill(at + 8, 0)]
    } else {
        vec![fill(at, MAX_LOOPS)]
    };
    let put = out.len();
    out.push(p.slots[start].clone());
    p.patch(start, out).ok_or(Unknown::JumpTooFar)?;
    p.push_targets(start, put).ok_or(Unknown::JumpTooFar)
}

/// A call of a function shows its distance, and its number where an immediate stands.
fn name_subprogs(p: &mut Patched) {
    let subprogs = p.subprogs.clone();
    if subprogs.len() == 1 {
        // Nothing is left to call.
        return;
    }
    let number = |at: i64| {
        subprogs.iter().position(|(start, _)| i64::from(*start) == at).unwrap_or(0) as i32
    };
    for i in 0..p.slots.len() {
        let insn = p.insn(i);
        let target = i as i64 + 1 + i64::from(insn.imm);
        if insn.is_call() && insn.src == PSEUDO_CALL {
            let slot = &mut p.slots[i].insn;
            (slot.off, slot.imm) = (insn.imm as i16, number(target));
        } else if insn.is_ld_imm64() && insn.src == PSEUDO_FUNC {
            p.slots[i + 1].insn.imm = number(target);
        }
    }
}

fn width(insn: RawInsn) -> Width {
    insn.width()
}

/// Division, which must not fault, and pointers that are masked.
fn arithmetic(insn: RawInsn, aux: &InsnAux) -> Option<Vec<Slot>> {
    if !matches!(insn.class(), Class::Alu | Class::Alu64) {
        return None;
    }
    let (dst, src, w) = (Reg(insn.dst), Reg(insn.src), width(insn));
    let wide = w == Width::W64;
    let own = Slot::from(insn);
    match (insn.alu_op(), insn.is_src_reg(), insn.off == 1) {
        (AluCode::Div, false, true) if insn.imm == -1 => Some(vec![neg(w, dst)]),
        (AluCode::Mod, false, true) if insn.imm == -1 => Some(vec![alu32(AluOp::Mov, dst, 0)]),
        (AluCode::Div, true, false) => Some(vec![
            branch(w, Cond::Ne, src, 0, 2),
            alu32_reg(AluOp::Xor, dst, dst),
            jump(1),
            own,
        ]),
        (AluCode::Mod, true, false) => {
            let mut out = vec![branch(w, Cond::Eq, src, 0, if wide { 1 } else { 2 }), own];
            if !wide {
                out.extend([jump(1), alu32_reg(AluOp::Mov, dst, dst)]);
            }
            Some(out)
        }
        (AluCode::Div, true, true) => Some(vec![
            alu64_reg(AluOp::Mov, AX, src),
            super::emit::alu(w, AluOp::Add, AX, Operand::Imm(1)),
            branch(w, Cond::Gt, AX, 1, 4),
            branch(w, Cond::Eq, AX, 0, 1),
            super::emit::alu(w, AluOp::Mov, dst, Operand::Imm(0)),
            neg(w, dst),
            jump(1),
            own,
        ]),
        (AluCode::Mod, true, true) => {
            let mut out = vec![
                alu64_reg(AluOp::Mov, AX, src),
                super::emit::alu(w, AluOp::Add, AX, Operand::Imm(1)),
                branch(w, Cond::Gt, AX, 1, 3),
                branch(w, Cond::Eq, AX, 1, if wide { 3 } else { 4 }),
                alu32(AluOp::Mov, dst, 0),
                jump(1),
                own,
            ];
            if !wide {
                out.extend([jump(1), alu32_reg(AluOp::Mov, dst, dst)]);
            }
            Some(out)
        }
        (AluCode::Add | AluCode::Sub, true, _) if wide => masked(insn, aux),
        _ => None,
    }
}

/// The offset is masked to the limit, so that a mispredicted path stays within.
fn masked(insn: RawInsn, aux: &InsnAux) -> Option<Vec<Slot>> {
    let at = aux.alu_limit;
    if at.state == 0 || at.state == ALU_NON_POINTER {
        return None;
    }
    let has = |bit: u8| at.state & bit != 0;
    let is_src = at.state & (ALU_SANITIZE_SRC | ALU_SANITIZE_DST) == ALU_SANITIZE_SRC;
    let (is_neg, is_imm) = (has(ALU_NEG_VALUE), has(ALU_IMMEDIATE));
    let (dst, src) = (Reg(insn.dst), Reg(insn.src));
    let off = if is_src { src } else { dst };
    let negate = alu64(AluOp::Mul, off, -1);
    let limit = alu32(AluOp::Mov, AX, at.limit as i32);
    let mut out = Vec::new();
    if is_imm {
        out.push(limit);
    } else {
        out.extend(is_neg.then(|| negate.clone()));
        out.extend([
            limit,
            alu64_reg(AluOp::Sub, AX, off),
            alu64_reg(AluOp::Or, AX, off),
            neg(Width::W64, AX),
            alu64(AluOp::Arsh, AX, 63),
            alu64_reg(AluOp::And, AX, off),
        ]);
    }
    if !is_src {
        out.push(alu64_reg(AluOp::Mov, dst, src));
    }
    let adds = (insn.alu_op() == AluCode::Add) != is_neg;
    out.push(alu64_reg(if adds { AluOp::Add } else { AluOp::Sub }, dst, AX));
    if is_src && is_neg && !is_imm {
        out.push(negate);
    }
    Some(out)
}

/// `LD_ABS` and `LD_IND` of packets.
fn legacy_load(insn: RawInsn) -> Option<Vec<Slot>> {
    let index = match (insn.class(), insn.mode()) {
        (Class::Ld, Mode::Abs) => None,
        (Class::Ld, Mode::Ind) => Some(Reg(insn.src)),
        _ => return None,
    };
    let (r0, r1, r2, r6) = (Reg::R0, Reg::R1, Reg::R2, Reg::R6);
    let mut out = match index {
        None => vec![alu64(AluOp::Mov, r2, insn.imm)],
        Some(index) => vec![alu64_reg(AluOp::Mov, r2, index)],
    };
    if index.is_some() && insn.imm != 0 {
        out.push(alu64(AluOp::Add, r2, insn.imm));
    }
    out.extend([
        alu64_reg(AluOp::Mov, r1, r6),
        call(match insn.size() {
            Size::B => "bpf_skb_load_helper_8_no_cache",
            Size::H => "bpf_skb_load_helper_16_no_cache",
            _ => "bpf_skb_load_helper_32_no_cache",
        }),
        branch(Width::W64, Cond::Sge, r0, 0, 2),
        alu32_reg(AluOp::Xor, r0, r0),
        exit(),
    ]);
    Some(out)
}

/// `TASK_SIZE >> 32` of arm64 with addresses of 48 bits.
const USER_LIMIT: i32 = 1 << 16;

/// No address of user space is loaded from.
fn masked_load(insn: RawInsn) -> Vec<Slot> {
    let mut out = vec![alu64_reg(AluOp::Mov, AX, Reg(insn.src))];
    if insn.off != 0 {
        out.push(alu64(AluOp::Add, AX, insn.off.into()));
    }
    out.extend([
        alu64(AluOp::Rsh, AX, 32),
        branch(Width::W64, Cond::Le, AX, USER_LIMIT, 2),
        Slot::from(insn),
        jump(1),
        alu64(AluOp::Mov, Reg(insn.dst), 0),
    ]);
    out
}

/// What a call of a helper becomes; None where the instruction stays as it is.
fn called(
    env: &Env<'_>,
    btf: &Btf,
    insn: RawInsn,
    aux: &InsnAux,
) -> Result<Option<Vec<Slot>>, Unknown> {
    if insn.is_kfunc_call() {
        return kfunc(env, insn, aux).map(Some);
    }
    let (r0, r1, r2, r3) = (Reg::R0, Reg::R1, Reg::R2, Reg::R3);
    let id = insn.imm;
    let name = env.kernel.helper_name(id);
    let newest = env.kernel.features.rewrites_as_7_3;
    let plain = name.strip_prefix("bpf_").unwrap_or(name);
    if env.kernel.jit_inlines(id) {
        return Ok(None);
    }
    let unknown = || Unknown::Call(name.to_string());
    let map = match aux.used {
        AuxUse::MapPtr { map, poison: false } => Some(env.map(map).def.clone()),
        _ => None,
    };
    let masks = !env.bypass_spec_v1;
    if id == func::TAIL_CALL {
        let Some(map) = map.filter(|_| masks) else { return Ok(None) };
        let mask = map.max_entries.next_power_of_two().wrapping_sub(1);
        return Ok(Some(vec![
            branch(Width::W64, Cond::Ge, r3, map.max_entries as i32, 2),
            alu32(AluOp::And, r3, mask as i32),
            Slot::from(insn),
        ]));
    }
    let own = |env: &Env<'_>| match env.helpers.get(id) {
        Some(ProtoLookup::Proto(proto)) => Ok(call(proto.func)),
        // The prologue's own.
        _ if id == func::SKB_PULL_DATA => Ok(call("bpf_skb_pull_data")),
        _ => Err(unknown()),
    };
    if id == func::TIMER_SET_CALLBACK {
        let [low, high] = address(r3, Some("prog_aux"));
        return Ok(Some(vec![low, high, own(env)?]));
    }
    if aux.call_with_percpu_alloc_ptr {
        return Ok(Some(vec![load(Size::Dw, r1, r1, 0), own(env)?]));
    }
    if gets_storage(id) && !newest {
        let flags = if aux.storage_get_func_atomic { GFP_ATOMIC } else { GFP_KERNEL };
        return Ok(Some(vec![alu64(AluOp::Mov, Reg(5), flags), own(env)?]));
    }
    if let (true, Some(map)) = (is_map_op(id), &map) {
        if id == func::MAP_LOOKUP_ELEM {
            if let Some(out) = lookup::inline(btf, map, masks, env.kernel.jit.percpu_insn)? {
                return Ok(Some(out));
            }
        }
        return map_op_symbol(map.map_type, id).map(|s| Some(vec![call(s)])).ok_or_else(unknown);
    }
    let tracing = env.prog_type() == ProgType::Tracing;
    if tracing && newest && plain.starts_with("get_func_") && id != func::GET_FUNC_IP {
        return Err(unknown());
    }
    let out = match id {
        func::GET_BRANCH_SNAPSHOT => return Err(unknown()),
        func::JIFFIES64 => {
            let [low, high] = address(r0, Some("jiffies"));
            vec![low, high, load(Size::Dw, r0, r0, 0)]
        }
        func::GET_SMP_PROCESSOR_ID if env.kernel.jit.percpu_insn => {
            let (by, of) = if env.kernel.features.rewrites_as_6_12 {
                (alu32(AluOp::Mov, r0, 0), "pcpu_hot.cpu_number")
            } else {
                (alu64(AluOp::Mov, r0, 0), "cpu_number")
            };
            let at = Slot { symbol: Some(of.into()), ..by };
            vec![at, percpu(r0, r0), load(Size::W, r0, r0, 0)]
        }
        func::GET_CURRENT_TASK | func::GET_CURRENT_TASK_BTF
            if newest && env.kernel.jit.percpu_insn =>
        {
            let at = Slot { symbol: Some("current_task".into()), ..alu64(AluOp::Mov, r0, 0) };
            vec![at, percpu(r0, r0), load(Size::Dw, r0, r0, 0)]
        }
        func::KPTR_XCHG if env.kernel.jit.ptr_xchg => {
            vec![alu64_reg(AluOp::Mov, r0, r2), xchg(r1, r0)]
        }
        func::GET_FUNC_ARG if tracing => {
            vec![
                load(Size::Dw, r0, r1, -8),
                super::emit::branch_reg(Width::W32, Cond::Ge, r2, r0, 6),
                alu64(AluOp::Lsh, r2, 3),
                alu64_reg(AluOp::Add, r2, r1),
                load(Size::Dw, r0, r2, 0),
                store(Size::Dw, r3, 0, Operand::Reg(r0)),
                alu64(AluOp::Mov, r0, 0),
                jump(1),
                alu64(AluOp::Mov, r0, -22),
            ]
        }
        func::GET_FUNC_RET if tracing => {
            let attach = env.prog.expected_attach_type;
            if !matches!(attach, Some(AttachType::TraceFexit | AttachType::ModifyReturn)) {
                vec![alu64(AluOp::Mov, r0, -95)]
            } else {
                vec![
                    load(Size::Dw, r0, r1, -8),
                    alu64(AluOp::Lsh, r0, 3),
                    alu64_reg(AluOp::Add, r0, r1),
                    load(Size::Dw, r3, r0, 0),
                    store(Size::Dw, r2, 0, Operand::Reg(r3)),
                    alu64(AluOp::Mov, r0, 0),
                ]
            }
        }
        func::GET_FUNC_ARG_CNT if tracing => vec![load(Size::Dw, r0, r1, -8)],
        func::GET_FUNC_IP if tracing => vec![load(Size::Dw, r0, r1, -16)],
        _ => vec![own(env)?],
    };
    Ok(Some(out))
}

/// A call of a kernel function, with what it is given beside its arguments (`fixup_kfunc_call`).
fn kfunc(env: &Env<'_>, insn: RawInsn, aux: &InsnAux) -> Result<Vec<Slot>, Unknown> {
    let btf = usize::try_from(insn.off).ok().and_then(|i| env.btfs.get(i + 1));
    let name = btf.and_then(Option::as_deref).map_or("", |b| b.name(insn.imm as u32));
    if name.is_empty() || env.kernel.jit.far_kfunc_call {
        return Err(Unknown::Call(name.to_string()));
    }
    let called = RawInsn { imm: 0, ..insn };
    let packet = env.kernel.prog(env.prog_type()).map(|row| row.packet);
    let symbol = match name {
        "bpf_set_dentry_xattr" | "bpf_remove_dentry_xattr" => {
            return Err(Unknown::Call(name.to_string()));
        }
        "bpf_dynptr_from_skb"
            if matches!(packet, Some(PacketAccess::None | PacketAccess::Read)) =>
        {
            "bpf_dynptr_from_skb_rdonly"
        }
        name => name,
    };
    let call = Slot { symbol: Some(symbol.into()), ..Slot::from(called) };
    let meta = |r: Reg| address(r, (aux.kptr_struct_meta != 0).then_some("struct_meta"));
    let newest = env.kernel.features.rewrites_as_7_3;
    if env.kernel.features.rewrites_as_6_1 {
        return Ok(vec![call]);
    }
    let mut out = match name {
        "bpf_iter_num_new" if newest => return Ok(iter_num_new()),
        "bpf_iter_num_next" if newest => return Ok(iter_num_next()),
        "bpf_iter_num_destroy" if newest => return Ok(vec![jump(0)]),
        "bpf_obj_new"
        | "bpf_obj_drop"
        | "bpf_percpu_obj_new"
        | "bpf_percpu_obj_drop"
        | "bpf_refcount_acquire"
        | "bpf_list_push_back"
        | "bpf_list_push_front"
        | "bpf_list_add"
        | "bpf_rbtree_add"
        | "bpf_session_is_return"
        | "bpf_session_cookie"
            if newest =>
        {
            return Err(Unknown::Call(name.to_string()));
        }
        _ if insn.off != 0 => return Ok(vec![call]),
        "bpf_obj_new_impl" | "bpf_percpu_obj_new_impl" => {
            let [low, high] = meta(Reg::R2);
            vec![alu64(AluOp::Mov, Reg::R1, aux.obj_new_size as i32), low, high, call.clone()]
        }
        "bpf_obj_drop_impl" | "bpf_percpu_obj_drop_impl" | "bpf_refcount_acquire_impl" => {
            let [low, high] = meta(Reg::R2);
            vec![low, high, call.clone()]
        }
        "bpf_list_push_back_impl" | "bpf_list_push_front_impl" | "bpf_rbtree_add_impl" => {
            let first = if name == "bpf_rbtree_add_impl" { 4 } else { 3 };
            let [low, high] = meta(Reg(first));
            let off = alu64(AluOp::Mov, Reg(first + 1), aux.insert_off as i32);
            vec![low, high, off, call.clone()]
        }
        "bpf_cast_to_kern_ctx" | "bpf_rdonly_cast" => {
            return Ok(vec![alu64_reg(AluOp::Mov, Reg::R0, Reg::R1)]);
        }
        _ => Vec::new(),
    };
    if aux.arg_prog != 0 {
        out.extend(address(Reg(aux.arg_prog), Some("prog_aux")));
        out.push(call);
    } else if out.is_empty() {
        out.push(call);
    }
    Ok(out)
}

/// `bpf_iter_num_new(r1, r2, r3)` written out: 0, or -EINVAL or -E2BIG and an empty range.
fn iter_num_new() -> Vec<Slot> {
    let (r0, it, start, end) = (Reg::R0, Reg::R1, Reg::R2, Reg::R3);
    let empty = || store(Size::Dw, it, 0, Operand::Imm(0));
    vec![
        super::emit::branch_reg(Width::W32, Cond::Sgt, start, end, 8),
        alu32_reg(AluOp::Mov, r0, end),
        alu32_reg(AluOp::Sub, r0, start),
        branch(Width::W64, Cond::Gt, r0, MAX_LOOPS, 8),
        alu32(AluOp::Add, start, -1),
        store(Size::W, it, 0, Operand::Reg(start)),
        store(Size::W, it, 4, Operand::Reg(end)),
        alu64(AluOp::Mov, r0, 0),
        jump(5),
        empty(),
        alu64(AluOp::Mov, r0, -22),
        jump(2),
        empty(),
        alu64(AluOp::Mov, r0, -7),
    ]
}

/// `bpf_iter_num_next(r1)` written out.
fn iter_num_next() -> Vec<Slot> {
    let (r0, it, end) = (Reg::R0, Reg::R1, Reg::R2);
    vec![
        load(Size::W, r0, it, 0),
        alu32(AluOp::Add, r0, 1),
        load(Size::W, end, it, 4),
        super::emit::branch_reg(Width::W32, Cond::Sge, r0, end, 3),
        store(Size::W, it, 0, Operand::Reg(r0)),
        alu64_reg(AluOp::Mov, r0, it),
        jump(2),
        store(Size::Dw, it, 0, Operand::Imm(0)),
        alu64(AluOp::Mov, r0, 0),
    ]
}
