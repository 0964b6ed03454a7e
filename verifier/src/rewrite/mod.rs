//! The program as the verifier leaves it: what `bpftool prog dump xlated` shows of a loaded one.
//!
//! The passes of `bpf_check` behind the last explored path, in the kernel's order: spills that calls make unnecessary,
//! dead code, context accesses, fixups of single instructions.  What is not known to be rewritten in the kernel's way
//! is [`Unknown`], never printed wrong.  Addresses are the boot's own: calls have the symbol, maps their index.

mod ctx;
mod dead;
mod emit;
mod fixup;
mod layout;
mod lookup;
mod loops;
mod patch;

use std::fmt;

use bpfassay_isa::field::{Class, Mode};
use bpfassay_isa::opcode::{PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_spec::{MapType, RegBase, RegType, TypeFlags};

use crate::config::Config;
use crate::env::{AuxUse, Env};
use crate::report::Report;

use patch::Patched;
pub use patch::Slot;

/// Why a program's rewriting is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// It is not accepted, so nothing is rewritten.
    NotAccepted,
    /// Kernels of this release rewrite otherwise.
    Release,
    /// The kernel's BTF is not there, or lacks a struct's member.
    Layout(String),
    /// A field of the context.
    Context(String),
    /// A call of this helper or kernel function.
    Call(String),
    /// Anything else, in words.
    Other(&'static str),
    /// A jump no longer reaches where it goes.
    JumpTooFar,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::NotAccepted => f.write_str("the program is not accepted"),
            Unknown::Release => f.write_str("this kernel's rewriting is not known"),
            Unknown::Layout(what) => write!(f, "the kernel's BTF does not have {what}"),
            Unknown::Context(what) => write!(f, "how {what} is read is not known"),
            Unknown::Call(what) => write!(f, "what becomes of a call of {what} is not known"),
            Unknown::Other(what) => write!(f, "what becomes of {what} is not known"),
            Unknown::JumpTooFar => f.write_str("a jump no longer reaches where it goes"),
        }
    }
}

/// A program as the kernel runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewritten {
    pub slots: Vec<Slot>,
    /// Where its functions begin: slot, and index of the function's record in the program; in order.
    pub functions: Vec<(u32, u32)>,
    /// Where lines of the source begin: slot, and index of the line's record in the program; in order.
    pub lines: Vec<(u32, u32)>,
}

impl std::ops::Deref for Rewritten {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        &self.slots
    }
}

/// Judges a program and rewrites it as the kernel would.
pub fn verify_and_rewrite(
    prog: &Program,
    config: &Config<'_>,
) -> (Report, Result<Rewritten, Unknown>) {
    let mut rewritten = Err(Unknown::NotAccepted);
    let report = crate::passes::verify_then(prog, config, &mut |env| rewritten = rewrite(env));
    (report, rewritten)
}

fn rewrite(env: &Env<'_>) -> Result<Rewritten, Unknown> {
    let has = &env.kernel.features;
    if !(has.rewrites_as_6_1 || has.rewrites_as_6_12 || has.rewrites_as_6_18 || has.rewrites_as_7_3)
    {
        return Err(Unknown::Release);
    }
    if env.prog.flags.test_rnd_hi32 {
        return Err(Unknown::Other("upper halves of registers, which this load makes random"));
    }
    let mut p = Patched {
        slots: env.insns.iter().copied().map(Slot::from).collect(),
        aux: env.aux.clone(),
        subprogs: env.explored_subprogs.clone(),
        functions: (0..env.explored_subprogs.len() as u32)
            .map(|i| Some(i).filter(|i| env.prog.func_info.len() > *i as usize))
            .collect(),
        lines: (0u32..).zip(&env.prog.line_info).map(|(i, l)| (l.insn_off, i)).collect(),
    };
    name_maps(env, &mut p)?;
    dead::drop_fastcall_spills(&mut p);
    loops::inline_loops(&mut p)?;
    if env.bpf_capable {
        dead::remove_dead_code(&mut p)?;
    } else {
        dead::trap_dead_code(&mut p);
    }
    let btf = env.config.vmlinux.as_deref();
    let btf = btf.ok_or_else(|| Unknown::Layout("anything".to_string()))?;
    convert_accesses(env, btf, &mut p)?;
    if env.seen_exception && env.exception_callback_subprog.is_none() {
        loops::append_exception_callback(&mut p)?;
    }
    fixup::fix_all(env, btf, &mut p)?;
    if has.rewrites_as_7_3 {
        shift_ax(env, &mut p)?;
    }
    let named = p.subprogs.iter().zip(&p.functions);
    let functions = named.filter_map(|((start, _), f)| Some((*start, (*f)?))).collect();
    Ok(Rewritten { slots: p.slots, functions, lines: p.lines })
}

/// From 7.x on the register before `BPF_REG_AX` holds arguments on the stack.
fn shift_ax(env: &Env<'_>, p: &mut Patched) -> Result<(), Unknown> {
    let (ax, shifted) = (emit::AX.0, emit::AX.0 + 1);
    if env.insns.iter().any(|i| i.dst == ax || i.src == ax) {
        return Err(Unknown::Other("arguments on the stack"));
    }
    for slot in &mut p.slots {
        let insn = &mut slot.insn;
        for reg in [&mut insn.dst, &mut insn.src] {
            if *reg == ax {
                *reg = shifted;
            }
        }
    }
    Ok(())
}

/// LD_IMM64 of a map or a map's value names the map.
fn name_maps(env: &Env<'_>, p: &mut Patched) -> Result<(), Unknown> {
    for i in 0..p.slots.len() {
        if !p.insn(i).is_ld_imm64() {
            continue;
        }
        let (map, off) = match env.aux[i].used {
            AuxUse::Map { map, off } => {
                let index = env.map_of_def.iter().position(|m| *m == Some(map));
                (index.ok_or(Unknown::Other("a map"))? as u32, off)
            }
            AuxUse::BtfVar { btf, .. } => {
                let insn = p.insn(i);
                let name = env.btf(btf).map_or("", |b| b.name(insn.imm as u32));
                let symbol = Some(name.into());
                p.slots[i] = Slot { symbol, ..Slot::from(RawInsn { src: 0, imm: 0, ..insn }) };
                p.slots[i + 1].insn.imm = 0;
                continue;
            }
            _ => continue,
        };
        let insn = p.insn(i);
        let is_value = !matches!(insn.src, PSEUDO_MAP_FD | bpfassay_isa::opcode::PSEUDO_MAP_IDX);
        let def = &env.prog.maps[map as usize];
        if is_value && def.map_type == MapType::Arena {
            // The address that the process has it at.
            let symbol = Some(format!("{}+{off}", def.source_name).into());
            p.slots[i] = Slot { symbol, ..Slot::from(RawInsn { src: 0, imm: 0, ..insn }) };
            p.slots[i + 1].insn.imm = 0;
            continue;
        }
        let src = if is_value { PSEUDO_MAP_VALUE } else { PSEUDO_MAP_FD };
        p.slots[i] = Slot { map: Some(map), ..Slot::from(RawInsn { src, imm: 0, ..insn }) };
        p.slots[i + 1].insn.imm = if is_value { off as i32 } else { 0 };
    }
    Ok(())
}

fn convert_accesses(env: &Env<'_>, btf: &Btf, p: &mut Patched) -> Result<(), Unknown> {
    let row = env.kernel.prog(env.prog_type()).ok_or(Unknown::Other("this program type"))?;
    let stamp_as_is = ctx::reads_stamp_kind(env, btf, row);
    let mut i = fixup::prologue(env, row.ops, btf, p)?;
    while i < p.slots.len() {
        if p.aux[i].nospec {
            p.patch(i, vec![emit::nospec(), p.slots[i].clone()]).ok_or(Unknown::JumpTooFar)?;
            i += 1;
        }
        let (insn, aux) = (p.insn(i), p.aux[i]);
        i += 1;
        let is_atomic = insn.class() == Class::Stx && insn.mode() == Mode::Atomic;
        let reads = insn.class() == Class::Ldx && matches!(insn.mode(), Mode::Mem | Mode::MemSx);
        let writes = matches!(insn.class(), Class::Stx | Class::St) && insn.mode() == Mode::Mem;
        let AuxUse::Ptr(ty) = aux.used else {
            if writes && aux.nospec_result {
                i = barrier_behind(p, i)?;
            }
            continue;
        };
        if ty.base() == RegBase::Arena && is_atomic {
            p.slots[i - 1].insn.code = with_mode(insn, PROBE_ATOMIC);
        }
        if !reads && !writes {
            continue;
        }
        if writes && aux.nospec_result {
            i = barrier_behind(p, i)?;
            continue;
        }
        let what = ty.base();
        let base = match what {
            RegBase::Ctx if row.rewrites_ctx => Some(ctx::Base::Ctx { ops: row.ops, stamp_as_is }),
            RegBase::Socket | RegBase::SockCommon => {
                Some(ctx::Base::Sock("bpf_sock_convert_ctx_access"))
            }
            RegBase::TcpSock => Some(ctx::Base::Sock("bpf_tcp_sock_convert_ctx_access")),
            RegBase::XdpSock => Some(ctx::Base::Sock("bpf_xdp_sock_convert_ctx_access")),
            _ => None,
        };
        if let Some(base) = base {
            let new = ctx::convert(env, btf, base, insn, aux.ctx_field_size)?;
            i += replace(p, i - 1, new)?;
        } else if reads && is_probed(ty) {
            let shown = match insn.mode() {
                Mode::MemSx => Slot::from(RawInsn { code: with_mode(insn, PROBE_MEMSX), ..insn }),
                _ => p.slots[i - 1].clone(),
            };
            if env.kernel.jit.masks_user_addresses {
                p.aux[i - 1].masks_address = true;
            }
            p.slots[i - 1] = shown;
        } else if what == RegBase::Arena && insn.mode() == Mode::MemSx {
            p.slots[i - 1].insn.code = with_mode(insn, PROBE_MEM32SX);
        }
    }
    Ok(())
}

/// Modes inside the kernel (`include/linux/filter.h`): those of loads that are no other instruction's are shown as
/// loads (`bpf_insn_prepare_dump`), these as they are.
const PROBE_MEMSX: u8 = 0x40;
const PROBE_MEM32SX: u8 = 0xc0;
const PROBE_ATOMIC: u8 = 0xe0;

fn with_mode(insn: RawInsn, mode: u8) -> u8 {
    insn.code & !0xe0 | mode
}

/// Puts `new` at `at`; by how many slots the program has grown.
fn replace(p: &mut Patched, at: usize, new: Vec<Slot>) -> Result<usize, Unknown> {
    let grown = new.len() - 1;
    p.patch(at, new).ok_or(Unknown::JumpTooFar)?;
    Ok(grown)
}

/// A barrier behind the store before `i`.
fn barrier_behind(p: &mut Patched, i: usize) -> Result<usize, Unknown> {
    p.patch(i - 1, vec![p.slots[i - 1].clone(), emit::nospec()]).ok_or(Unknown::JumpTooFar)?;
    Ok(i + 1)
}

/// Loads that may fault are probed (`convert_ctx_accesses`).
fn is_probed(ty: RegType) -> bool {
    let plain = ty.base() == RegBase::BtfId && ty.flags() == TypeFlags::NONE;
    plain || ty.has(TypeFlags::PTR_UNTRUSTED)
}
