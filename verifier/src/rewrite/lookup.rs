//! `bpf_map_lookup_elem` written out (`map_gen_lookup` of `kernel/bpf/{arraymap,hashtab}.c`).

use bpfassay_isa::{AluOp, Cond, Operand, Reg, Size, Width};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::MapDef;
use bpfassay_spec::MapType;

use super::emit::{alu32, alu64, alu64_reg, branch, call, jump, load, percpu, store};
use super::layout::offset;
use super::patch::Slot;
use super::Unknown;

/// `BPF_F_INNER_MAP`.
const INNER_MAP: u32 = 1 << 12;
const HASH_LOOKUP: &str = "__htab_map_lookup_elem";

/// The instructions, or None where the lookup stays a call; `masks` where speculation must not leave the array.
pub(super) fn inline(
    btf: &Btf,
    map: &MapDef,
    masks: bool,
    has_percpu: bool,
) -> Result<Option<Vec<Slot>>, Unknown> {
    let r0 = Reg::R0;
    let element = (map.key_size as i32 + 7) & !7;
    let key = || offset(btf, "htab_elem.key").map(|off| alu64(AluOp::Add, r0, off + element));
    let miss = |over| branch(Width::W64, Cond::Eq, r0, 0, over);
    let found = |rest: Vec<Slot>, over| {
        let mut out = vec![call(HASH_LOOKUP), miss(over)];
        out.extend(rest);
        Ok(Some(out))
    };
    match map.map_type {
        MapType::Array | MapType::PercpuArray if map.map_flags & INNER_MAP != 0 => Ok(None),
        MapType::PercpuArray | MapType::PercpuHash if !has_percpu => Ok(None),
        MapType::Array => {
            let tail = vec![jump(1), alu64(AluOp::Mov, r0, 0)];
            array(btf, map, "bpf_array.value", masks, tail).map(Some)
        }
        MapType::PercpuArray => {
            let slot = MapDef { value_size: 8, ..map.clone() };
            let tail =
                vec![load(Size::Dw, r0, r0, 0), percpu(r0, r0), jump(1), alu64(AluOp::Mov, r0, 0)];
            array(btf, &slot, "bpf_array.pptrs", masks, tail).map(Some)
        }
        MapType::ArrayOfMaps => {
            let tail = vec![load(Size::Dw, r0, r0, 0), miss(1), jump(1), alu64(AluOp::Mov, r0, 0)];
            array(btf, map, "bpf_array.value", masks, tail).map(Some)
        }
        MapType::Xskmap => {
            let (r1, r2) = (Reg::R1, Reg::R2);
            Ok(Some(vec![
                load(Size::W, r0, r2, 0),
                branch(Width::W64, Cond::Ge, r0, map.max_entries as i32, 5),
                alu64(AluOp::Lsh, r0, 3),
                alu64(AluOp::Add, r1, offset(btf, "xsk_map.xsk_map")?),
                alu64_reg(AluOp::Add, r0, r1),
                load(Size::Dw, r0, r0, 0),
                jump(1),
                alu64(AluOp::Mov, r0, 0),
            ]))
        }
        MapType::Hash => found(vec![key()?], 1),
        MapType::HashOfMaps => found(vec![key()?, load(Size::Dw, r0, r0, 0)], 2),
        MapType::PercpuHash => found(vec![key()?, load(Size::Dw, r0, r0, 0), percpu(r0, r0)], 3),
        MapType::LruHash => {
            let used = offset(btf, "htab_elem.lru_node.ref")?;
            let r1 = Reg::R1;
            let rest = vec![
                load(Size::B, r1, r0, used),
                branch(Width::W64, Cond::Ne, r1, 0, 1),
                store(Size::B, r0, used, Operand::Imm(1)),
                key()?,
            ];
            found(rest, 4)
        }
        _ => Ok(None),
    }
}

fn array(
    btf: &Btf,
    map: &MapDef,
    values: &str,
    masks: bool,
    tail: Vec<Slot>,
) -> Result<Vec<Slot>, Unknown> {
    let (r0, r1, r2) = (Reg::R0, Reg::R1, Reg::R2);
    let element = map.value_size.next_multiple_of(8);
    let over = tail.len() as i16 + 1;
    let mut out = vec![alu64(AluOp::Add, r1, offset(btf, values)?), load(Size::W, r0, r2, 0)];
    out.push(branch(Width::W64, Cond::Ge, r0, map.max_entries as i32, over + i16::from(masks)));
    if masks {
        let mask = map.max_entries.next_power_of_two().wrapping_sub(1);
        out.push(alu32(AluOp::And, r0, mask as i32));
    }
    out.push(if element.is_power_of_two() {
        alu64(AluOp::Lsh, r0, element.trailing_zeros() as i32)
    } else {
        alu64(AluOp::Mul, r0, element as i32)
    });
    out.push(alu64_reg(AluOp::Add, r0, r1));
    out.extend(tail);
    Ok(out)
}
