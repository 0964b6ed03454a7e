//! Jumps through instruction arrays: what an array holds, the graph behind a jump, and the jump itself
//! (`bpf_insn_array_init`, `create_jt`, `check_indirect_jump`).

use bpfassay_isa::Reg;
use bpfassay_object::model::MapDef;
use bpfassay_spec::{MapType, RegBase};

use crate::domain::reg::MapId;
use crate::env::Env;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno, Stop};
use crate::subprogs::{find_containing_subprog, subprog_end};
use crate::verbose;

/// Bytes of an element as a program sees the array: the address of an instruction.
pub(crate) const TARGET_SIZE: u32 = 8;

/// Slots that the elements of an instruction array name; what nobody wrote is slot 0.
fn targets(def: &MapDef) -> impl Iterator<Item = u32> + '_ {
    let known = def.targets.as_deref().map_or(&[][..], |t| t.as_slice());
    (0..def.max_entries as usize).map(|i| known.get(i).copied().unwrap_or(0))
}

/// An instruction array becomes the program's: it must be frozen, and name instructions.
pub(crate) fn adopt_insn_array(env: &mut Env<'_>, def: &MapDef) -> Check {
    if !env.kernel.jit.enabled {
        return Err(Stop::unsupported("instruction arrays where the JIT is off"));
    }
    let is_insn = |at: u32| {
        let inside = at > 0 && env.insns.get(at as usize - 1).is_some_and(|i| i.is_ld_imm64());
        (at as usize) < env.insns.len() && !inside
    };
    if !def.frozen || !targets(def).all(is_insn) {
        verbose!(env, "Failed to properly initialize insn array\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Fills `aux[t].jump_table` with all that the tables of its function name, ascending.
pub(crate) fn find_jump_table(env: &mut Env<'_>, t: u32) -> Check<u32> {
    if let Some(known) = env.aux(t).jump_table {
        return Ok(known);
    }
    let sub = find_containing_subprog(env, t);
    let (start, end) = (env.subprogs[sub as usize].start, subprog_end(env, sub));
    let mut rows = Vec::new();
    for map in env.maps.iter().filter(|m| m.def.map_type == MapType::InsnArray) {
        let table = sorted(targets(&map.def).collect());
        // The first of a table says whose it is.
        if table.first().is_some_and(|first| (start..end).contains(first)) {
            rows.extend(table);
        }
    }
    if rows.is_empty() {
        verbose!(env, "no jump tables found for subprog starting at {start}\n");
        return Err(Errno::EINVAL.into());
    }
    let rows = sorted(rows);
    if rows.iter().any(|row| !(start..end).contains(row)) {
        verbose!(env, "jump table for insn {t} points outside of the subprog [{start},{end}]\n");
        return Err(Errno::EINVAL.into());
    }
    let number = env.cfg.jump_tables.len() as u32;
    env.cfg.jump_tables.push(rows);
    env.aux_mut(t).jump_table = Some(number);
    Ok(number)
}

fn sorted(mut rows: Vec<u32>) -> Vec<u32> {
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The gotox at `env.insn_idx`: a path for each instruction that the register may name.
pub fn check_indirect_jump(env: &mut Env<'_>) -> Check {
    let idx = env.insn_idx;
    let r = Reg(env.insns[idx as usize].dst);
    let reg = *env.reg(r);
    if reg.ty != RegBase::Insn {
        let name = env.type_name(reg.ty);
        verbose!(env, "R{} has type {name}, expected PTR_TO_INSN\n", r.0);
        return Err(Errno::EINVAL.into());
    }
    let map = reg.map().ok_or_else(|| Stop::unsupported("jump register without a map"))?;
    let (first, last) = index_range(env, r, map)?;
    let named = targets(&env.map(map).def).skip(first as usize).take((last - first) as usize + 1);
    let rows = sorted(named.collect());
    let Some((last, others)) = rows.split_last() else {
        return Err(Stop::unsupported("jump through an empty table"));
    };
    let speculative = env.cur.speculative;
    for row in others {
        push_stack(env, *row, idx, speculative)?;
    }
    env.insn_idx = *last;
    Ok(())
}

/// First and last element that the register may name (`indirect_jump_min_max_index`).
fn index_range(env: &mut Env<'_>, r: Reg, map: MapId) -> Check<(u32, u32)> {
    const SIZE: u64 = TARGET_SIZE as u64;
    let reg = *env.reg(r);
    let whole = env.kernel.features.pointer_offset_whole;
    let off = if whole { 0 } else { i64::from(reg.off) as u64 };
    let mut ends = [0; 2];
    for (end, (word, value)) in
        ends.iter_mut().zip([("umin_value", reg.umin), ("umax_value", reg.umax)])
    {
        let sum = value.checked_add(off).filter(|sum| *sum <= u64::from(u32::MAX) * SIZE);
        let Some(sum) = sum else {
            let and_off =
                if whole { String::new() } else { format!(" and off {}", reg.off as u32) };
            verbose!(env, "the sum of R{} {word} {value}{and_off} is too big\n", r.0);
            return Err(Errno::ERANGE.into());
        };
        *end = sum / SIZE;
    }
    let entries = env.map(map).def.max_entries;
    let [first, last] = ends;
    if last >= u64::from(entries) {
        verbose!(
            env,
            "R{} points to outside of jump table: [{first},{last}] max_entries {entries}\n",
            r.0
        );
        return Err(Errno::EINVAL.into());
    }
    Ok((first as u32, last as u32))
}
