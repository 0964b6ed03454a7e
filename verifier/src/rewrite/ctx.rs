//! Accesses to the context, whose fields are the kernel's own structs' (`convert_ctx_accesses` and the
//! `convert_ctx_access` of program types, whose rows are `spec/data/ctx`).

use bpfassay_isa::field::{Class, Mode};
use bpfassay_isa::{AluOp, Cond, Operand, RawInsn, Reg, Size, Width};
use bpfassay_object::btf::Btf;
use bpfassay_spec::ctx_convert::{CtxWay, Step, Wide};
use bpfassay_spec::{ProgInfo, RegBase};

use super::emit::{alu32, alu64, alu64_reg, branch, jump, load, store, AX};
use super::layout::{field, offset, size};
use super::patch::Slot;
use super::Unknown;
use crate::check::summary::with_prog_kind;
use crate::env::{AuxUse, Env};

/// Queue numbers end below this (`NO_QUEUE_MAPPING`).
const NO_QUEUE: i32 = 0xffff;

/// What an access is made to.
#[derive(Clone, Copy)]
pub(super) enum Base<'a> {
    /// The context of a program of these operations.
    Ctx { ops: &'a str, stamp_as_is: bool },
    /// A socket, by the kernel's function.
    Sock(&'a str),
}

/// An access: the instruction with the offset and width it is converted at.
struct At<'a> {
    btf: &'a Btf,
    insn: RawInsn,
    dst: Reg,
    src: Reg,
    write: bool,
    /// The program reads what kind of time stamp there is, so the stamp itself is left alone.
    stamp_as_is: bool,
    /// What is not read leaves 0 in the context's own register.
    zeroes: bool,
}

/// What the access at `insn` becomes; `field_size` is that of the field where the verifier noted one, else 0.
pub(super) fn convert(
    env: &Env<'_>,
    btf: &Btf,
    base: Base<'_>,
    insn: RawInsn,
    field_size: u32,
) -> Result<Vec<Slot>, Unknown> {
    let bytes = insn.size().bytes();
    let write = insn.class() != Class::Ldx;
    let narrower = bytes < field_size;
    let off = i32::from(insn.off);
    let mut si = insn;
    if narrower {
        let wide = if field_size == 8 { Size::Dw } else { size(field_size.max(2))? };
        si = load(wide, Reg(insn.dst), Reg(insn.src), off & !(field_size as i32 - 1)).insn;
    }
    let (mut out, target) = converted(env, btf, base, si, write)?;
    let dst = Reg(insn.dst);
    if narrower && bytes < target {
        let shift = (off as u32 % field_size / bytes * bytes % field_size) * 8;
        if shift > 0 {
            out.push(if field_size <= 4 {
                alu32(AluOp::Rsh, dst, shift as i32)
            } else {
                alu64(AluOp::Rsh, dst, shift as i32)
            });
        }
        out.push(alu32(AluOp::And, dst, ((1u64 << (bytes * 8)) - 1) as u32 as i32));
    }
    if insn.mode() == Mode::MemSx {
        let mut extend = alu64_reg(AluOp::Mov, dst, dst);
        extend.insn.off = (bytes * 8) as i16;
        out.push(extend);
    }
    Ok(out)
}

/// The instructions, and the width of what they read.
fn converted(
    env: &Env<'_>,
    btf: &Btf,
    base: Base<'_>,
    insn: RawInsn,
    write: bool,
) -> Result<(Vec<Slot>, u32), Unknown> {
    let off = i32::from(insn.off);
    let (way, what, stamp_as_is) = with_prog_kind(env, |kind| match base {
        Base::Ctx { ops, stamp_as_is } => (env.kernel.ctx_way(kind, ops, off), ops, stamp_as_is),
        Base::Sock(function) => (env.kernel.sock_way(kind, function, off), function, true),
    });
    let way = way.ok_or_else(|| Unknown::Context(format!("{what}'s context at {off}")))?;
    let zeroes = env.kernel.features.sock_ops_zeroes_same_register;
    let at = At { btf, insn, dst: Reg(insn.dst), src: Reg(insn.src), write, stamp_as_is, zeroes };
    at.by(&way)
}

impl At<'_> {
    fn by(&self, way: &CtxWay) -> Result<(Vec<Slot>, u32), Unknown> {
        let loads = way.steps.iter().filter(|s| matches!(s, Step::Load { .. })).count();
        match way.steps {
            [Step::Only(flag), rest @ ..] if self.write => self.borrowing(Some(flag), rest, way),
            [Step::Only(flag), rest @ ..] => self.only(flag, rest, way),
            [Step::QueueMapping] => self.queue_mapping(),
            [Step::Tstamp] if self.stamp_as_is => {
                let stamp = offset(self.btf, "sk_buff.tstamp")?;
                let skb = if self.write { self.dst } else { self.src };
                Ok((vec![self.access(Size::Dw, skb, stamp)], 8))
            }
            [Step::Tstamp] => self.stamp().map(|out| (out, 8)),
            [Step::DataEnd] => self.data_end().map(|out| (out, 0)),
            steps if self.write && loads > 1 => self.borrowing(None, steps, way),
            steps => self.steps(steps, way),
        }
    }

    /// Step by step; a store takes the place of the only load.
    fn steps(&self, steps: &[Step], way: &CtxWay) -> Result<(Vec<Slot>, u32), Unknown> {
        let dst = self.dst;
        let (mut out, mut from, mut width) = (Vec::new(), self.src, 0);
        let mut null_checks = Vec::new();
        for step in steps {
            match *step {
                Step::Load { .. } => {
                    let (off, bytes) = self.place(step, way)?;
                    width = bytes;
                    out.push(if self.write {
                        self.access(size(bytes)?, dst, off)
                    } else {
                        load(size(bytes)?, dst, from, off)
                    });
                    from = dst;
                }
                Step::Shared => {
                    let (end, bytes) = field(self.btf, "sk_buff.end")?;
                    let head = offset(self.btf, "sk_buff.head")?;
                    out.extend([
                        load(size(bytes)?, AX, from, end),
                        load(Size::Dw, dst, from, head),
                        alu64_reg(AluOp::Add, dst, AX),
                    ]);
                    from = dst;
                }
                Step::EndIfNull => {
                    null_checks.push(out.len());
                    out.push(branch(Width::W64, Cond::Eq, dst, 0, 0));
                }
                Step::NoQueue => out.extend([
                    branch(Width::W64, Cond::Ne, dst, NO_QUEUE, 1),
                    alu64(AluOp::Mov, dst, -1),
                ]),
                Step::And(n) => out.push(alu32(AluOp::And, dst, n)),
                Step::Shl(n) => out.push(alu32(AluOp::Lsh, dst, n)),
                Step::Set(n) => out.push(alu32(AluOp::Mov, dst, n)),
                Step::Nothing(bytes) => {
                    width = bytes;
                    out.push(alu32(AluOp::Mov, dst, 0));
                }
                Step::Only(_) | Step::QueueMapping | Step::Tstamp | Step::DataEnd => {
                    return Err(Unknown::Other("a field of the context"));
                }
            }
        }
        let end = out.len();
        for at in null_checks {
            out[at].insn.off = (end - at - 1) as i16;
        }
        Ok((out, width))
    }

    /// Offset and width of a load.
    fn place(&self, step: &Step, way: &CtxWay) -> Result<(i32, u32), Unknown> {
        let Step::Load { member, cb, within, wide } = *step else {
            return Err(Unknown::Other("a field of the context"));
        };
        let access = self.insn.size().bytes();
        let (mut off, own) = if member.is_empty() { (0, 0) } else { field(self.btf, member)? };
        if cb {
            off += offset(self.btf, "sk_buff.cb")?;
        }
        if within {
            off += way.within;
        }
        let bytes = match wide {
            Wide::Own => own,
            Wide::Bytes(bytes) => bytes,
            Wide::Access if own == 0 => access,
            Wide::Access => access.min(own),
        };
        Ok((off, bytes))
    }

    /// Two registers are not enough: another is kept in the context meanwhile.
    fn spare(&self, way: &CtxWay) -> Result<(Reg, i32), Unknown> {
        let member = way.spare.ok_or(Unknown::Other("a store to the context"))?;
        Ok((self.other_reg(), offset(self.btf, member)?))
    }

    fn other_reg(&self) -> Reg {
        let mut reg = Reg(9);
        for _ in 0..2 {
            if self.src == reg || self.dst == reg {
                reg = Reg(reg.0 - 1);
            }
        }
        reg
    }

    /// A store behind pointers (`SOCK_ADDR_STORE_NESTED_FIELD_OFF`, `SOCK_OPS_SET_FIELD`).
    fn borrowing(
        &self,
        flag: Option<&str>,
        steps: &[Step],
        way: &CtxWay,
    ) -> Result<(Vec<Slot>, u32), Unknown> {
        let (reg, kept) = self.spare(way)?;
        let mut out = vec![store(Size::Dw, self.dst, kept, Operand::Reg(reg))];
        if let Some(flag) = flag {
            let (off, bytes) = field(self.btf, flag)?;
            out.push(load(size(bytes)?, reg, self.dst, off));
            out.push(branch(Width::W64, Cond::Eq, reg, 0, steps.len() as i16));
        }
        let (mut from, mut width) = (self.dst, 0);
        for (i, step) in steps.iter().enumerate() {
            let (off, bytes) = self.place(step, way)?;
            width = bytes;
            out.push(if i + 1 == steps.len() {
                self.access(size(bytes)?, from, off)
            } else {
                load(size(bytes)?, reg, from, off)
            });
            from = reg;
        }
        out.push(load(Size::Dw, reg, self.dst, kept));
        Ok((out, width))
    }

    /// A load behind a flag (`SOCK_OPS_GET_FIELD`, `SOCK_OPS_GET_SK`).
    fn only(&self, flag: &str, steps: &[Step], way: &CtxWay) -> Result<(Vec<Slot>, u32), Unknown> {
        let (flag_off, flag_size) = field(self.btf, flag)?;
        let (inner, width) = self.steps(steps, way)?;
        let test = |reg, over| {
            [load(Size::B, reg, self.src, flag_off), branch(Width::W64, Cond::Eq, reg, 0, over)]
        };
        if flag_size != 1 {
            return Err(Unknown::Layout(flag.to_string()));
        }
        let over = inner.len() as i16;
        let mut out = Vec::new();
        if self.src != self.dst {
            out.extend(test(self.dst, over));
            out.extend(inner);
            return Ok((out, width));
        }
        let (reg, kept) = self.spare(way)?;
        let restore = load(Size::Dw, reg, self.src, kept);
        out.push(store(Size::Dw, self.src, kept, Operand::Reg(reg)));
        out.extend(test(reg, over + 2));
        out.push(restore.clone());
        out.extend(inner);
        out.extend([jump(if self.zeroes { 2 } else { 1 }), restore]);
        if self.zeroes {
            out.push(alu64(AluOp::Mov, self.dst, 0));
        }
        Ok((out, width))
    }

    fn queue_mapping(&self) -> Result<(Vec<Slot>, u32), Unknown> {
        let (off, bytes) = field(self.btf, "sk_buff.queue_mapping")?;
        let mut out = Vec::new();
        match self.insn.class() {
            Class::Ldx => out.push(load(size(bytes)?, self.dst, self.src, off)),
            Class::St if (self.insn.imm as u32) >= NO_QUEUE as u32 => out.push(jump(0)),
            class => {
                if class == Class::Stx {
                    out.push(branch(Width::W64, Cond::Ge, self.src, NO_QUEUE, 1));
                }
                out.push(self.access(size(bytes)?, self.dst, off));
            }
        }
        Ok((out, bytes))
    }

    /// What received packets carry is no delivery time: it reads as 0, and is no longer one once written.
    fn stamp(&self) -> Result<Vec<Slot>, Unknown> {
        let kind = offset(self.btf, "sk_buff.__mono_tc_offset")?;
        let stamp = offset(self.btf, "sk_buff.tstamp")?;
        let has = |bit, over| branch(Width::W32, Cond::Set, AX, bit, over);
        let skb = if self.write { self.dst } else { self.src };
        let mut out = vec![load(Size::B, AX, skb, kind), has(4, 1)];
        if self.write {
            out.extend([
                jump(2),
                alu32(AluOp::And, AX, !3),
                store(Size::B, skb, kind, Operand::Reg(AX)),
                self.access(Size::Dw, skb, stamp),
            ]);
        } else {
            out.extend([
                jump(4),
                has(3, 1),
                jump(2),
                alu64(AluOp::Mov, self.dst, 0),
                jump(1),
                load(Size::Dw, self.dst, skb, stamp),
            ]);
        }
        Ok(out)
    }

    /// The linear part's end, which nobody stored.
    fn data_end(&self) -> Result<Vec<Slot>, Unknown> {
        let at = |member: &str| offset(self.btf, member);
        let kept = at("sk_buff.cb")? + at("sk_skb_cb.temp_reg")?;
        let same = self.src == self.dst;
        let reg = if same { self.other_reg() } else { self.dst };
        let mut out = Vec::new();
        if same {
            out.push(store(Size::Dw, self.src, kept, Operand::Reg(reg)));
        }
        out.extend([
            load(Size::Dw, reg, self.src, at("sk_buff.data")?),
            load(Size::W, AX, self.src, at("sk_buff.len")?),
            alu64_reg(AluOp::Add, reg, AX),
            load(Size::W, AX, self.src, at("sk_buff.data_len")?),
            alu64_reg(AluOp::Sub, reg, AX),
        ]);
        if same {
            out.extend([
                alu64_reg(AluOp::Mov, AX, self.src),
                alu64_reg(AluOp::Mov, self.dst, reg),
                load(Size::Dw, reg, AX, kept),
            ]);
        }
        Ok(out)
    }

    /// A load from `base`, or the store at hand (`BPF_EMIT_STORE`).
    fn access(&self, size: Size, base: Reg, off: i32) -> Slot {
        match self.insn.class() {
            Class::Ldx => load(size, self.dst, base, off),
            Class::St => store(size, base, off, Operand::Imm(self.insn.imm)),
            _ => store(size, base, off, Operand::Reg(self.src)),
        }
    }
}

/// Whether some instruction that was checked reads the kind of the packet's time stamp.
pub(super) fn reads_stamp_kind(env: &Env<'_>, btf: &Btf, row: &ProgInfo) -> bool {
    let Ok(kind) = offset(btf, "__sk_buff.tstamp_type") else { return false };
    row.ops == "tc_cls_act"
        && env.insns.iter().zip(&env.aux).any(|(insn, aux)| {
            let of_ctx = matches!(aux.used, AuxUse::Ptr(ty) if ty.base() == RegBase::Ctx);
            of_ctx && insn.class() == Class::Ldx && i32::from(insn.off) == kind
        })
}
