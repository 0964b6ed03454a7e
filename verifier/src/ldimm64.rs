//! Pseudo sources of LD_IMM64: maps, map values, kernel variables, subprograms; and the opcode
//! check that comes with the same scan (`resolve_pseudo_ldimm64`).

use std::sync::Arc;

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::opcode;
use bpfassay_object::btf::{BtfKind, Type};
use bpfassay_object::model::{as_written, KernelBtfRef, MapDef};
use bpfassay_spec::{MapType, RegBase, RegType, TypeFlags};

use crate::check::indirect_jump::{adopt_insn_array, TARGET_SIZE};
use crate::check::map_fields::map_record;
use crate::check::map_use::check_map_prog_compatibility;
use crate::domain::reg::{BtfObj, MapId};
use crate::env::{AuxUse, Env, MapInfo};
use crate::insn_fields;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Fills `env.maps`, `env.map_of_def` and `aux[..].used` of every LD_IMM64.
pub fn resolve_pseudo_ldimm64(env: &mut Env<'_>) -> Check {
    let mut i = 0;
    while i < env.insns.len() {
        let insn = env.insns[i];
        let early = env.kernel.features.insn_fields_first;
        if early {
            insn_fields::check_registers(env, insn)?;
        }
        let extends = insn.mode() == Mode::MemSx && env.kernel.features.isa_v4;
        let plain_load = (insn.mode() == Mode::Mem || extends) && insn.imm == 0;
        if insn.class() == Class::Ldx && !plain_load && !early {
            verbose!(env, "BPF_LDX uses reserved fields\n");
            return Err(Errno::EINVAL.into());
        }
        let adds_only = insn.class() == Class::Stx && !env.kernel.features.atomic_operations;
        if adds_only && insn.imm != 0 {
            verbose!(env, "BPF_STX uses reserved fields\n");
            return Err(Errno::EINVAL.into());
        }
        if insn.is_ld_imm64() {
            resolve_one(env, i)?;
            i += 2;
            continue;
        }
        let features = &env.kernel.features;
        let swaps = insn.class() == Class::Alu64 && insn.alu_op() == AluCode::End;
        let far = insn.class() == Class::Jmp32 && insn.jmp_op() == JmpCode::Ja;
        let through_table = insn.is_gotox() && !features.indirect_jumps;
        let too_new = through_table
            || swaps && !features.isa_v4
            || far && !features.far_jumps
            || insn.is_jump_class() && insn.jmp_op() == JmpCode::Jcond && !features.may_goto;
        if !insn.is_known_opcode() || too_new {
            verbose!(env, "unknown opcode {:02x}\n", insn.code);
            return Err(Errno::EINVAL.into());
        }
        if early {
            insn_fields::check_fields(env, insn)?;
        }
        i += 1;
    }
    add_inner_maps(env)
}

fn resolve_one(env: &mut Env<'_>, i: usize) -> Check {
    let insn = env.insns[i];
    let tail = match env.insns.get(i + 1) {
        Some(t) if t.code == 0 && t.dst == 0 && t.src == 0 && t.off == 0 => *t,
        _ => {
            verbose!(env, "invalid bpf_ld_imm64 insn\n");
            return Err(Errno::EINVAL.into());
        }
    };
    if insn.off != 0 && env.kernel.features.insn_fields_first {
        verbose!(env, "BPF_LD_IMM64 uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    let is_value = match insn.src {
        0 => return Ok(()),
        opcode::PSEUDO_BTF_ID => return check_pseudo_btf_id(env, i),
        opcode::PSEUDO_FUNC if env.kernel.features.function_pointers => {
            env.aux[i].used = AuxUse::Ptr(RegType::of(RegBase::Func));
            return Ok(());
        }
        opcode::PSEUDO_MAP_VALUE | opcode::PSEUDO_MAP_IDX_VALUE => true,
        opcode::PSEUDO_MAP_FD | opcode::PSEUDO_MAP_IDX if tail.imm == 0 => false,
        _ => {
            verbose!(env, "unrecognized bpf_ld_imm64 insn\n");
            return Err(Errno::EINVAL.into());
        }
    };
    if matches!(insn.src, opcode::PSEUDO_MAP_IDX | opcode::PSEUDO_MAP_IDX_VALUE) {
        // The model has map indices in place of descriptors and no descriptor array.
        return Err(Stop::unsupported("map references through the descriptor array"));
    }
    let map = add_used_map(env, insn.imm)?;
    let off = tail.imm as u32;
    if is_value {
        check_direct_value(env, map, off)?;
    }
    env.aux[i].used = AuxUse::Map { map, off: if is_value { off } else { 0 } };
    let is_arena = env.map(map).def.map_type == MapType::Arena;
    set_address(env, i, placeholder_address(map, is_value.then_some(off), is_arena));
    Ok(())
}

/// The log prints what the kernel has put into the instruction: an address.  Ours is made up,
/// of the kernel's magnitude, and the same in every run.
fn placeholder_address(map: MapId, value_off: Option<u32>, is_arena: bool) -> u64 {
    const MAP: u64 = 0xffff_8881_0000_0000;
    const VALUE: u64 = 0xffff_c900_0100_0000;
    const ARENA: u64 = 0x7000_0000_0000;
    match value_off {
        Some(off) if is_arena => ARENA + u64::from(off),
        Some(off) => VALUE + (u64::from(map.0) << 30) + u64::from(off),
        None => MAP + (u64::from(map.0) << 10),
    }
}

fn set_address(env: &mut Env<'_>, i: usize, address: u64) {
    env.insns[i].imm = address as i32;
    env.insns[i + 1].imm = (address >> 32) as i32;
}

/// The offset of a direct value reference must lie in the value of a one-element array, or in an arena.
fn check_direct_value(env: &mut Env<'_>, map: MapId, off: u32) -> Check {
    if off >= env.kernel.limits.max_var_off {
        verbose!(env, "direct value offset of {} is not allowed\n", off);
        return Err(Errno::EINVAL.into());
    }
    let def = env.map(map).def.clone();
    let (by_cpu, has_percpu) = (env.kernel.features.percpu_data, env.kernel.jit.percpu_insn);
    let jumps = env.kernel.features.indirect_jumps;
    let is_no_row = !off.is_multiple_of(TARGET_SIZE) || off / TARGET_SIZE >= def.max_entries;
    let errno = match def.map_type {
        MapType::Array if def.max_entries != 1 => Errno::ENOTSUPP,
        MapType::Array if off >= def.value_size => Errno::EINVAL,
        MapType::Arena if u64::from(off) > u64::from(def.max_entries) * 4096 => Errno::ERANGE,
        MapType::InsnArray if jumps && is_no_row => Errno::EACCES,
        MapType::InsnArray if jumps => return Ok(()),
        MapType::PercpuArray if by_cpu && !has_percpu => Errno::EOPNOTSUPP,
        MapType::PercpuArray if by_cpu && def.max_entries != 1 => Errno::EOPNOTSUPP,
        MapType::PercpuArray if by_cpu && off >= def.value_size => Errno::EINVAL,
        MapType::Array | MapType::Arena => return Ok(()),
        MapType::PercpuArray if by_cpu => return Ok(()),
        _ => {
            verbose!(env, "no direct value access support for this map type\n");
            return Err(Errno::EINVAL.into());
        }
    };
    verbose!(
        env,
        "invalid access to map value pointer, value_size={} off={}\n",
        def.value_size,
        off
    );
    Err(errno.into())
}

fn add_used_map(env: &mut Env<'_>, fd: i32) -> Check<MapId> {
    let Some(def) = usize::try_from(fd).ok().and_then(|i| env.prog.maps.get(i)) else {
        let fd = as_written(fd);
        verbose!(env, "fd {} is not pointing to valid bpf_map\n", fd);
        // Whoever loads has standard input, output and error open.
        let is_open = (0..3).contains(&fd);
        return Err(if is_open { Errno::EINVAL } else { Errno::EBADF }.into());
    };
    if let Some(id) = env.map_of_def[fd as usize] {
        return Ok(id);
    }
    if env.maps.len() >= env.kernel.limits.max_used_maps as usize {
        verbose!(
            env,
            "The total number of maps per program has reached the limit of {}\n",
            env.kernel.limits.max_used_maps
        );
        return Err(Errno::E2BIG.into());
    }
    let info = map_info(env, Arc::new(def.clone()))?;
    check_map_prog_compatibility(env, &info)?;
    if info.def.map_type == MapType::InsnArray {
        adopt_insn_array(env, &info.def)?;
    }
    let id = MapId(env.maps.len() as u32);
    env.maps.push(info);
    env.map_of_def[fd as usize] = Some(id);
    Ok(id)
}

fn map_info(env: &Env<'_>, mut def: Arc<MapDef>) -> Check<MapInfo> {
    // A lookup returns the kernel's own device index: such maps are made read-only to programs (`dev_map_init_map`).
    if env.kernel.map_use(def.map_type).is_some_and(|row| row.made_rdonly) {
        Arc::make_mut(&mut def).map_flags |= MapDef::F_RDONLY_PROG;
    }
    match map_record(env, &def) {
        Ok(record) => Ok(MapInfo { def, inner: None, record }),
        // A map that cannot be created with its BTF is created without, as libbpf does.
        Err(_) => {
            let mut plain = MapDef::clone(&def);
            (plain.btf_key_type_id, plain.btf_value_type_id) = (0, 0);
            Ok(MapInfo { def: Arc::new(plain), inner: None, record: None })
        }
    }
}

fn add_inner_maps(env: &mut Env<'_>) -> Check {
    for i in 0..env.maps.len() {
        if let Some(mut inner) = env.maps[i].def.inner.clone() {
            // The kernel keeps the shape of an inner map, not its name (`bpf_map_meta_alloc`).
            inner.name.clear();
            // The kernel keeps a template of the inner map, and the template has no name.
            let inner = MapDef { name: String::new(), ..*inner };
            let info = map_info(env, Arc::new(inner))?;
            env.maps[i].inner = Some(MapId(env.maps.len() as u32));
            env.maps.push(info);
        }
    }
    Ok(())
}

/// The BTF behind an index into [`bpfassay_object::model::Program::btfs`].
pub fn kernel_btf(env: &Env<'_>, btf_ref: u32) -> Option<BtfObj> {
    match env.prog.btfs.get(btf_ref as usize) {
        None if btf_ref != 0 => None,
        None | Some(KernelBtfRef::Vmlinux) => Some(BtfObj::VMLINUX),
        Some(KernelBtfRef::Module(name)) => {
            let i = env.config.modules.iter().position(|(n, _)| n == name)?;
            Some(BtfObj(BtfObj::VMLINUX.0 + 1 + i as u32))
        }
    }
}

/// LD_IMM64 of a kernel variable or function (`check_pseudo_btf_id`).
fn check_pseudo_btf_id(env: &mut Env<'_>, i: usize) -> Check {
    let (id, btf_ref) = (env.insns[i].imm as u32, env.insns[i + 1].imm as u32);
    if btf_ref != 0 && env.prog.btfs.get(btf_ref as usize).is_none() {
        verbose!(env, "invalid module BTF object FD specified.\n");
        return Err(Errno::EINVAL.into());
    }
    let Some(obj) = kernel_btf(env, btf_ref) else {
        return Err(Stop::unsupported("kernel variable of a module the profile lacks"));
    };
    let Some(btf) = env.btf(obj).cloned() else {
        return Err(Stop::unsupported("kernel variables need the kernel's BTF"));
    };
    let Some(t) = btf.ty(id) else {
        verbose!(env, "ldimm64 insn specifies invalid btf_id {}.\n", id as i32);
        return Err(Errno::ENOENT.into());
    };
    let unknown = match &env.kernel.absent_symbols {
        Some(_) => env.kernel.lacks_symbol(t.name()),
        // Without CONFIG_KALLSYMS_ALL the kernel knows the addresses of functions only.
        None => t.kind() == BtfKind::Var && !env.kernel.config.has("KALLSYMS_ALL"),
    };
    let taken = t.kind() == BtfKind::Var
        || t.kind() == BtfKind::Func && env.kernel.features.function_symbols;
    if taken && unknown {
        verbose!(env, "ldimm64 failed to find the address for kernel symbol '{}'.\n", t.name());
        return Err(Errno::ENOENT.into());
    }
    let rdonly_mem = RegType::with(RegBase::Mem, TypeFlags::MEM_RDONLY);
    let used = match t.kind() {
        BtfKind::Func if env.kernel.features.function_symbols => {
            AuxUse::BtfVar { ty: rdonly_mem, btf: obj, btf_id: 0, mem_size: 0 }
        }
        BtfKind::Var if is_percpu(t) => AuxUse::BtfVar {
            ty: RegType::with(RegBase::BtfId, TypeFlags::MEM_PERCPU),
            btf: obj,
            btf_id: t.type_id(),
            mem_size: 0,
        },
        BtfKind::Var => {
            let target = btf.skip_mods_and_typedefs(t.type_id());
            match target.map(|s| (s.kind().is_composite(), btf.size_of(s.id()))) {
                Some((true, _)) => AuxUse::BtfVar {
                    ty: RegType::of(RegBase::BtfId),
                    btf: obj,
                    btf_id: t.type_id(),
                    mem_size: 0,
                },
                Some((false, Some(mem_size))) => {
                    AuxUse::BtfVar { ty: rdonly_mem, btf: obj, btf_id: 0, mem_size }
                }
                _ => {
                    let name = target.map_or("", Type::name);
                    let errno = -Errno::EINVAL.0;
                    verbose!(
                        env,
                        "ldimm64 unable to resolve the size of type '{}': {}\n",
                        name,
                        errno
                    );
                    return Err(Errno::EINVAL.into());
                }
            }
        }
        _ => {
            verbose!(env, words.ldimm64_kind, id = id as i32);
            return Err(Errno::EINVAL.into());
        }
    };
    env.aux[i].used = used;
    const VMLINUX: u64 = 0xffff_ffff_8200_0000;
    set_address(env, i, VMLINUX + (u64::from(id) << 6));
    Ok(())
}

/// The variable stands in the `.data..percpu` section of its own BTF.
fn is_percpu(var: Type<'_>) -> bool {
    let id = var.id();
    var.btf()
        .own_types()
        .filter(|t| t.kind() == BtfKind::Datasec && t.name() == ".data..percpu")
        .any(|sec| sec.vars().any(|v| v.type_id == id))
}
