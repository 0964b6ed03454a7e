//! What the object puts into its program arrays and maps of maps, and whether it fits
//! (`__bpf_prog_map_compatible`, `bpf_map_meta_equal`; libbpf: `init_prog_array_slots`, `init_map_in_map_slots`).

use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_object::btf::BtfKind;
use bpfassay_object::model::{KernelBtfRef, MapDef, Program};
use bpfassay_object::{Object, Slot};
use bpfassay_spec::map::InnerRule;
use bpfassay_spec::{AttachType, MapInfo, MapType, ProgInfo, ProgType};
use bpfassay_verifier::check::btf_record::BtfRecord;
use bpfassay_verifier::map_record_of;

use crate::maps::{Fault, Made, EBADF, EINVAL};
use crate::target::Target;

const E2BIG: i32 = 7;
/// `BPF_F_INNER_MAP`.
const INNER_MAP: u32 = 1 << 12;
/// Helper `bpf_tail_call`.
const TAIL_CALL: i32 = 12;

/// Why slots are not filled.
pub(crate) enum Stop {
    Refused(Fault),
    /// What a slot names is not there unless the application asks for it.
    Unset(Fault),
}

/// True if maps of this type may be inner maps.
pub(crate) fn may_be_inner(t: MapType) -> bool {
    MapInfo::of(t).is_some_and(|row| row.inner != InnerRule::No)
}

/// Fills the slots of one map; a note is about programs that do not go together in one load.
pub(crate) fn fill(
    object: &Object,
    target: &Target,
    index: usize,
    map: &Made,
    made: &[Result<Made, Fault>],
) -> Result<Option<String>, Stop> {
    let slots = object.map_slots.get(index).map_or(&[][..], Vec::as_slice);
    let is_programs = map.def.map_type == MapType::ProgArray;
    let mut owner = Owner { target, map: index, first: None, object };
    let note = if is_programs { owner.of_users() } else { None };
    for (filled, (number, slot)) in slots.iter().enumerate() {
        match slot {
            Slot::Map(inner) => {
                let inner = made.get(*inner).and_then(|m| m.as_ref().ok());
                inner
                    .map_or(Ok(()), |inner| {
                        inner_slot((object, target), map, *number, filled, inner)
                    })
                    .map_err(Stop::Refused)?;
            }
            Slot::Program(name) => owner.program_slot(&map.def, *number, name)?,
        }
    }
    Ok(note)
}

fn refused(number: u32, errno: i32, what: impl std::fmt::Display) -> Fault {
    Fault::new(errno, "map-slot", format!("slot {number}: {what}"))
}

fn inner_slot(
    (object, target): (&Object, &Target),
    outer: &Made,
    number: u32,
    filled: usize,
    inner: &Made,
) -> Result<(), Fault> {
    let name = &inner.def.source_name;
    let fault = |what: String| {
        refused(number, EINVAL, format!("map `{name}` is not like the inner map: {what}"))
    };
    let has_room = match outer.def.map_type {
        MapType::HashOfMaps => filled < outer.def.max_entries as usize,
        _ => number < outer.def.max_entries,
    };
    if !has_room && !outer.def.unset.max_entries {
        return Err(refused(number, E2BIG, format!("max_entries is {}", outer.def.max_entries)));
    }
    let Some(template) = outer.def.inner.as_deref() else { return Ok(()) };
    if inner.def.map_type.is_of_maps() {
        return Err(fault("it is a map of maps itself".to_string()));
    }
    let (a, b) = (template, &inner.def);
    if a.map_type != b.map_type {
        return Err(fault(format!("type {} against {}", b.map_type, a.map_type)));
    }
    let flags = |d: &MapDef| match d.map_type.uses().made_rdonly {
        true => d.map_flags | MapDef::F_RDONLY_PROG,
        false => d.map_flags,
    };
    let same = [
        ("key_size", a.key_size, b.key_size),
        ("value_size", a.value_size, b.value_size),
        ("map_flags", flags(a), flags(b)),
    ];
    if let Some((what, want, is)) = same.iter().find(|(_, a, b)| a != b) {
        return Err(fault(format!("{what} {is} against {want}")));
    }
    if keeps_entries(target, a)
        && a.max_entries != b.max_entries
        && !a.unset.max_entries
        && !b.unset.max_entries
    {
        let hint = if a.map_type == MapType::Array { " (BPF_F_INNER_MAP lifts that)" } else { "" };
        return Err(fault(format!(
            "max_entries {} against {}{hint}",
            b.max_entries, a.max_entries
        )));
    }
    if template_record(object, target, template) != inner.record {
        return Err(fault("the special fields of their values differ".to_string()));
    }
    Ok(())
}

fn template_record(object: &Object, target: &Target, template: &MapDef) -> Option<Arc<BtfRecord>> {
    let btf = object.btf.as_ref()?;
    map_record_of(&target.config(), btf, template).ok().flatten()
}

fn keeps_entries(target: &Target, template: &MapDef) -> bool {
    match MapInfo::of(template.map_type).map(|row| row.inner) {
        Some(InnerRule::Entries) => true,
        Some(InnerRule::Array) => template.map_flags & INNER_MAP == 0,
        _ => {
            template.map_type == MapType::PercpuArray
                && target.kernel.features.percpu_inner_keeps_entries
        }
    }
}

/// What programs of one array have in common (`struct bpf_map_owner`).
#[derive(Clone, PartialEq, Debug)]
struct Kin {
    name: String,
    prog_type: ProgType,
    attach_type: Option<AttachType>,
    xdp_has_frags: bool,
    sleepable: bool,
    /// Cgroup storages used, by kind.
    storage: [Option<usize>; 2],
    calls: bool,
    /// Prototype of what it attaches to: BTF and type.
    proto: Option<(u32, u32)>,
}

struct Owner<'a> {
    object: &'a Object,
    target: &'a Target,
    map: usize,
    first: Option<Kin>,
}

impl Owner<'_> {
    /// The array belongs to the first program that is loaded and calls through it; a note names one that does not fit.
    fn of_users(&mut self) -> Option<String> {
        for entry in self.object.programs.iter().filter(|e| e.autoload) {
            let Ok(program) = &entry.program else { continue };
            if !uses(&program.insns, self.map) {
                continue;
            }
            let kin = self.kin(program);
            match &self.first {
                None => self.first = Some(kin),
                Some(first) => {
                    if let Some(why) = self.differs(first, &kin) {
                        let (a, b) = (&first.name, &kin.name);
                        return Some(format!("`{a}` and `{b}` both call through it and cannot be loaded together (EINVAL): {why}"));
                    }
                }
            }
        }
        None
    }

    fn program_slot(&mut self, array: &MapDef, number: u32, name: &str) -> Result<(), Stop> {
        if number >= array.max_entries && !array.unset.max_entries {
            return Err(Stop::Refused(refused(
                number,
                E2BIG,
                format!("max_entries is {}", array.max_entries),
            )));
        }
        let Some(entry) = self.object.programs.iter().find(|e| e.name == *name) else {
            return Ok(());
        };
        if !entry.autoload {
            let what = format!("program `{name}` is not loaded unless the application asks for it");
            return Err(Stop::Unset(refused(number, EBADF, what)));
        }
        let Ok(program) = &entry.program else { return Ok(()) };
        let kin = self.kin(program);
        if kin.prog_type == ProgType::Ext {
            let what = format!("program `{name}` extends another, which no program array takes");
            return Err(Stop::Refused(refused(number, EINVAL, what)));
        }
        match &self.first {
            None => self.first = Some(kin),
            Some(first) => {
                if let Some(why) = self.differs(first, &kin) {
                    let what = format!(
                        "program `{name}` does not go with `{}`, whose array it is: {why}",
                        first.name
                    );
                    return Err(Stop::Refused(refused(number, EINVAL, what)));
                }
            }
        }
        Ok(())
    }

    fn kin(&self, program: &Program) -> Kin {
        let storage_of = |t: MapType| {
            let used = |i: &usize| {
                self.object.maps.get(*i).is_some_and(|m| m.map_type == t)
                    && uses(&program.insns, *i)
            };
            (0..self.object.maps.len()).find(used)
        };
        Kin {
            name: program.name.clone(),
            prog_type: program.prog_type,
            attach_type: program.expected_attach_type,
            xdp_has_frags: program.flags.xdp_has_frags,
            sleepable: program.flags.sleepable,
            storage: [storage_of(MapType::CgroupStorage), storage_of(MapType::PercpuCgroupStorage)],
            calls: program.insns.iter().any(|i| i.is_helper_call() && i.imm == TAIL_CALL),
            proto: self.proto(program),
        }
    }

    /// Type of the function prototype that the program attaches to.
    fn proto(&self, program: &Program) -> Option<(u32, u32)> {
        let at = program.attach_target.as_ref()?;
        let btf = match program.btfs.get(at.btf as usize)? {
            KernelBtfRef::Vmlinux => self.target.vmlinux.as_ref(),
            KernelBtfRef::Module(name) => {
                self.target.modules.iter().find(|(n, _)| n == name).map(|(_, b)| b)
            }
        }?;
        let ty = btf.ty(at.btf_id)?;
        let proto = match (ty.kind(), at.member) {
            (BtfKind::Func, _) => btf.func_proto(at.btf_id),
            (BtfKind::Struct, Some(member)) => {
                btf.func_ptr_proto(ty.member(member as usize)?.type_id)
            }
            _ => btf.func_ptr_proto(at.btf_id),
        };
        Some((at.btf, proto?.id()))
    }

    /// What keeps a program out of the array of another.
    fn differs(&self, first: &Kin, kin: &Kin) -> Option<String> {
        let features = &self.target.kernel.features;
        if first.prog_type != kin.prog_type {
            return Some(format!("it is {}, not {}", kin.prog_type, first.prog_type));
        }
        if first.xdp_has_frags != kin.xdp_has_frags {
            return Some(
                "one takes packets in fragments (xdp.frags), the other does not".to_string(),
            );
        }
        if features.prog_array_keeps_sleepable && first.sleepable != kin.sleepable {
            return Some("one may sleep, the other may not".to_string());
        }
        let attach = |k: &Kin| k.attach_type.unwrap_or(AttachType::CgroupInetIngress);
        if attach(first) != attach(kin) {
            return Some(format!("it attaches to {}, not {}", attach(kin), attach(first)));
        }
        for (a, b) in first.storage.iter().zip(&kin.storage) {
            let bare = b.is_none() && !(kin.calls && features.tail_callee_wants_storage);
            if a != b && !bare {
                return Some("they use other cgroup storages".to_string());
            }
        }
        let by_proto = ProgInfo::of(kin.prog_type).is_some_and(|p| p.attaches_by_btf);
        if by_proto && first.proto != kin.proto {
            return Some("they attach to functions of other prototypes".to_string());
        }
        None
    }
}

/// True if the instructions name a map.
fn uses(insns: &[RawInsn], map: usize) -> bool {
    /// `BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`.
    const PSEUDO: [u8; 2] = [1, 2];
    let mut slots = insns.iter();
    while let Some(insn) = slots.next() {
        if insn.is_ld_imm64() {
            slots.next();
            if PSEUDO.contains(&insn.src) && usize::try_from(insn.imm) == Ok(map) {
                return true;
            }
        }
    }
    false
}
