//! Second half of loading: from an opened object to the programs a kernel would be handed
//! (`tools/lib/bpf/libbpf.c`: `bpf_object_prepare`, `bpf_object_load_prog`).
//!
//! Each entry program is linked as if it were the only one to load.  What stops libbpf before it comes to a program
//! stops every program; the rest stops only its own.

use std::collections::HashSet;
use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_spec::{AttachType, MapType, ProgType};

use crate::append::{self, Linked};
use crate::attach;
use crate::btf::{linkage, Btf, BtfKind};
use crate::core::{self, Candidates, Outcome};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::extern_values::{self, Resolved};
use crate::map_btf;
use crate::maps::Slot;
use crate::model::{AttachTarget, KernelBtfRef, MapDef, ProgFlags, Program};
use crate::open::{Func, Opened};
use crate::struct_ops::{self, Attachment};
use crate::target::{Place, Target};

/// Slots of all linked programs together; each program is copied with what it calls.
const MAX_TOTAL_INSNS: usize = 8 << 20;

/// One entry program of an object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The C function's name.
    pub name: String,
    /// Section without a leading `?`.
    pub section: String,
    /// False for `SEC("?…")`: loaded only when asked for.
    pub autoload: bool,
    pub program: Result<Program, LoadError>,
}

/// An object linked for one kernel.
#[derive(Clone, Debug)]
pub struct Object {
    /// As it shows in map names.
    pub name: String,
    pub license: String,
    /// In libbpf's order: by section, then by offset.
    pub programs: Vec<Entry>,
    pub maps: Arc<Vec<MapDef>>,
    /// Initial slots per map: inner maps, and programs of program arrays.
    pub map_slots: Vec<Vec<(u32, Slot)>>,
    /// The object's BTF as it would be loaded.
    pub btf: Option<Arc<Btf>>,
    pub notes: Vec<String>,
}

/// Opens and links in one go.  `name` is the file's name or path.
pub fn load(
    bytes: &[u8],
    name: impl AsRef<[u8]>,
    target: &Target<'_>,
) -> Result<Object, LoadError> {
    Opened::parse(bytes, name).map(|o| o.link(target))
}

/// What all programs of the object share.
struct Shared<'a> {
    opened: &'a Opened,
    target: &'a Target<'a>,
    /// Functions with CO-RE applied, for subprograms; entry programs are done one by one.
    subprogs: Vec<Option<RelocatedFunc>>,
    externs: Vec<Resolved>,
    btfs: Vec<KernelBtfRef>,
    attachments: Vec<(usize, Attachment)>,
    /// Programs of struct_ops maps that this kernel has no type for.
    refused: Vec<(usize, LoadError)>,
    maps: Arc<Vec<MapDef>>,
    btf: Option<Arc<Btf>>,
    /// Stops every program.
    stop: Option<LoadError>,
    /// Facts that every program needs and nobody has.
    missing: Vec<String>,
    exception_callbacks: append::ExceptionCallbacks,
    /// What the loader decided on its own, with the map it is about.
    notes: Vec<(Option<usize>, String)>,
}

/// A function after CO-RE.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelocatedFunc {
    pub insns: Vec<RawInsn>,
    pub missing: Vec<String>,
}

impl Opened {
    /// Makes the programs as a kernel would get them.
    pub fn link(&self, target: &Target<'_>) -> Object {
        let shared = Shared::new(self, target);
        let mut budget = MAX_TOTAL_INSNS;
        let programs = self
            .entries()
            .map(|(i, f)| Entry {
                name: f.name.clone(),
                section: f.section_name.clone(),
                autoload: f.autoload,
                program: shared.program(i, f, &mut budget).map_err(|e| match e.place.program {
                    None => e.in_program(&f.name),
                    Some(_) => e,
                }),
            })
            .collect();
        Object {
            name: self.name.clone(),
            license: self.license.clone(),
            programs,
            maps: shared.maps.clone(),
            map_slots: self.maps.iter().map(|m| m.slots.clone()).collect(),
            btf: shared.btf.clone(),
            notes: shared.notes.iter().map(|(_, text)| text.clone()).collect(),
        }
    }

    /// Makes one program; None where the object has none of this name.
    pub(crate) fn link_one(
        &self,
        name: &str,
        target: &Target<'_>,
    ) -> Option<Result<Program, LoadError>> {
        let (i, f) = self.entries().find(|(_, f)| f.name == name)?;
        Some(Shared::new(self, target).program(i, f, &mut { MAX_TOTAL_INSNS }))
    }
}

impl<'a> Shared<'a> {
    fn new(opened: &'a Opened, target: &'a Target<'a>) -> Shared<'a> {
        let mut s = Shared {
            opened,
            target,
            subprogs: Vec::new(),
            externs: Vec::new(),
            btfs: vec![KernelBtfRef::Vmlinux],
            attachments: Vec::new(),
            refused: Vec::new(),
            maps: Arc::new(Vec::new()),
            btf: None,
            stop: None,
            missing: Vec::new(),
            exception_callbacks: append::ExceptionCallbacks::default(),
            notes: opened.notes.iter().map(|text| (None, text.clone())).collect(),
        };
        if let Err(e) = s.fill() {
            s.stop = Some(e);
        }
        s
    }

    /// In libbpf's order, so that the first refusal is the same.
    fn fill(&mut self) -> Result<(), LoadError> {
        let mut maps: Vec<MapDef> = self.opened.maps.iter().map(|m| m.def.clone()).collect();
        for (def, source) in maps.iter_mut().zip(&self.opened.maps) {
            def.initial = source.initial.clone();
            def.autocreate = source.autocreate;
        }
        let mut values = extern_values::resolve(self.opened, self.target)?;
        self.externs = std::mem::take(&mut values.externs);
        self.btfs = std::mem::take(&mut values.btfs);
        self.missing = std::mem::take(&mut values.missing);
        if let Some(def) = self.opened.kconfig_map.and_then(|i| maps.get_mut(i)) {
            def.initial = Some(Arc::new(values.kconfig));
        }
        self.fill_struct_ops(&mut maps)?;
        self.fill_subprogs()?;
        self.exception_callbacks = append::ExceptionCallbacks::find(self.opened);
        self.fill_btf()?;
        for (i, def) in maps.iter_mut().enumerate() {
            let mut notes = Vec::new();
            finish_map(def, self.target, self.btf.as_deref(), &mut notes);
            self.notes.extend(notes.into_iter().map(|text| (Some(i), text)));
        }
        self.maps = Arc::new(maps);
        Ok(())
    }

    fn fill_struct_ops(&mut self, maps: &mut [MapDef]) -> Result<(), LoadError> {
        let kernel = self.target.types();
        for (i, source) in self.opened.maps.iter().enumerate().filter(|(_, m)| m.autocreate) {
            let (Some(ops), Some(btf)) = (&source.struct_ops, &self.opened.btf) else { continue };
            match struct_ops::match_kernel(source, ops, btf, &kernel) {
                // libbpf refuses the object; programs beside the map load where it is not made.
                Err(e) => {
                    self.notes.push((None, format!("libbpf refuses the object: {e}")));
                    self.refused.extend(ops.members.iter().map(|(_, func)| (*func, e.clone())));
                }
                Ok(Err(missing)) => self.missing.push(missing),
                Ok(Ok(side)) => {
                    maps[i].value_size = side.value_size;
                    maps[i].btf_vmlinux_value_type_id = side.value_type_id;
                    for (func, a) in side.programs {
                        let taken = self.attachments.iter().find(|(f, _)| *f == func);
                        if taken
                            .is_some_and(|(_, b)| b.type_id != a.type_id || b.member != a.member)
                        {
                            let what = format!(
                                "struct_ops map '{}': invalid reuse of the program",
                                maps[i].source_name
                            );
                            return Err(LoadError::new(K::StructOps, what)
                                .in_program(&self.opened.funcs[func].name));
                        }
                        if taken.is_none() {
                            self.attachments.push((func, a));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// CO-RE of every subprogram, used or not: libbpf refuses the object if one of them cannot be done.
    fn fill_subprogs(&mut self) -> Result<(), LoadError> {
        let opened = self.opened;
        self.subprogs = opened
            .funcs
            .iter()
            .map(|f| {
                opened
                    .is_subprog(f)
                    .then(|| RelocatedFunc { insns: f.insns.clone(), missing: Vec::new() })
            })
            .collect();
        let (Some(btf), Some(ext)) = (&opened.btf, &opened.ext) else { return Ok(()) };
        let mut candidates = Candidates::new(self.target.types());
        for sec in ext.core.iter().filter(|s| s.section == opened.text && opened.text != 0) {
            for (number, record) in sec.records.iter().enumerate() {
                let Some(place) = core_place(opened, sec.section, record)? else { continue };
                let Some(Some(func)) = self.subprogs.get_mut(place.0) else { continue };
                apply_core(btf, record, number, &sec.name, &mut candidates, func, place.1)
                    .map_err(|e| e.in_program(&opened.funcs[place.0].name))?;
            }
        }
        Ok(())
    }

    /// The BTF to load.  Where the kernel would not take it, libbpf goes on without, if it can.
    fn fill_btf(&mut self) -> Result<(), LoadError> {
        let Some(btf) = &self.opened.btf else { return Ok(()) };
        let btf = self.final_btf(btf);
        match btf.kernel_check() {
            Ok(()) => self.btf = Some(Arc::new(btf)),
            Err(e) if self.opened.maps.iter().any(|m| m.struct_ops.is_some()) => {
                return Err(LoadError::new(K::Btf, format!("the kernel refuses the BTF: {e}")));
            }
            Err(e) => self.notes.push((
                None,
                format!("the kernel refuses the BTF ({e}): loaded without it, as libbpf does"),
            )),
        }
        Ok(())
    }

    /// Hidden subprograms become static, so that the verifier follows calls into them.
    fn final_btf(&self, btf: &Btf) -> Btf {
        let mut out = btf.clone();
        for f in self.opened.funcs.iter().filter(|f| f.is_hidden && self.opened.is_subprog(f)) {
            let id = out
                .find_by_name(&f.name)
                .find(|t| t.kind() == BtfKind::Func && t.linkage() == linkage::GLOBAL)
                .map(|t| t.id());
            if let Some(id) = id {
                out.set_linkage(id, linkage::STATIC);
            }
        }
        out
    }

    fn program(&self, index: usize, f: &Func, budget: &mut usize) -> Result<Program, LoadError> {
        if let Some(e) = &self.stop {
            return Err(e.clone());
        }
        if let Some((_, e)) = self.refused.iter().find(|(func, _)| *func == index) {
            return Err(e.clone());
        }
        let entry = self.relocated_entry(index, f)?;
        let mut linked = append::link(
            self.opened,
            &self.subprogs,
            &self.exception_callbacks,
            index,
            entry,
            budget,
        )?;
        extern_values::apply(self.opened, &self.externs, &mut linked)?;
        let prog_type = f.prog_type.filter(|t| *t != ProgType::Unspec);
        let prog_type = prog_type.ok_or_else(|| {
            let what = format!("section name '{}' says no program type", f.section_name);
            LoadError::new(K::ProgType, what).in_section(f.section, &f.section_name)
        })?;
        self.finish(index, f, prog_type, linked)
    }

    fn relocated_entry(&self, index: usize, f: &Func) -> Result<RelocatedFunc, LoadError> {
        let mut func = RelocatedFunc { insns: f.insns.clone(), missing: Vec::new() };
        let (Some(btf), Some(ext)) = (&self.opened.btf, &self.opened.ext) else { return Ok(func) };
        let mut candidates = Candidates::new(self.target.types());
        for sec in ext.core.iter().filter(|s| s.section == f.section) {
            for number in sec.range(f.insn_off, f.insn_off + f.insns.len()) {
                let Some(record) = sec.records.get(number) else { continue };
                let Some((at, insn)) = core_place(self.opened, sec.section, record)? else {
                    continue;
                };
                if at == index {
                    apply_core(btf, record, number, &sec.name, &mut candidates, &mut func, insn)?;
                }
            }
        }
        Ok(func)
    }

    fn finish(
        &self,
        index: usize,
        f: &Func,
        prog_type: ProgType,
        linked: Linked,
    ) -> Result<Program, LoadError> {
        let def = f.def.filter(|d| d.prog_type == prog_type);
        let flags = ProgFlags {
            sleepable: def.is_some_and(|d| d.is_sleepable()),
            xdp_has_frags: def.is_some_and(|d| d.has_xdp_frags()),
            ..ProgFlags::default()
        };
        let mut attach_type = f.attach_type;
        if def.is_some_and(|d| d.is_usdt()) && self.target.features.uprobe_multi {
            attach_type = Some(AttachType::TraceUprobeMulti);
        }
        let mut btfs = self.btfs.clone();
        let mut missing = self.missing.clone();
        missing.extend(linked.missing);
        let attach_target = if prog_type == ProgType::StructOps {
            self.struct_ops_target(index, &mut btfs)?
        } else if f.attach_target.is_some()
            || f.attach_program.is_some()
            || def.is_some_and(|d| d.attaches_by_btf())
        {
            Some(attach::find(f, self.target, &mut btfs, &mut missing)?)
        } else {
            None
        };
        missing.sort();
        missing.dedup();
        let used: HashSet<usize> = linked.relocs.iter().filter_map(|(_, r, _)| r.map()).collect();
        let concerns = |map: &Option<usize>| map.is_none_or(|i| used.contains(&i));
        let notes = self.notes.iter().filter(|(map, _)| concerns(map));
        let notes = notes.map(|(_, text)| text.clone()).collect();
        let mut maps = self.maps.clone();
        if !linked.jump_tables.maps.is_empty() {
            let tables = linked.jump_tables.maps.into_iter().map(|(_, def)| def);
            Arc::make_mut(&mut maps).extend(tables);
        }
        let mut program = Program {
            name: f.name.clone(),
            section: f.section_name.clone(),
            prog_type,
            expected_attach_type: attach_type,
            attach_target,
            insns: linked.insns,
            license: self.opened.license.clone(),
            maps,
            btf: self.btf.clone(),
            btfs,
            func_info: if self.btf.is_some() { linked.func_info } else { Vec::new() },
            line_info: if self.btf.is_some() { linked.line_info } else { Vec::new() },
            flags,
            kern_version: self.opened.version.unwrap_or(self.target.kernel_version),
            subprogs: linked.subprogs,
            notes,
            missing,
            debug: self.opened.debug.clone(),
        };
        if !self.target.features.arg_ctx_tag {
            crate::arg_ctx::rewrite(&mut program);
        }
        Ok(program)
    }

    fn struct_ops_target(
        &self,
        index: usize,
        btfs: &mut Vec<KernelBtfRef>,
    ) -> Result<Option<AttachTarget>, LoadError> {
        let found = self.attachments.iter().find(|(f, _)| *f == index).map(|(_, a)| a);
        match found {
            Some(a) => Ok(Some(AttachTarget {
                name: a.struct_name.clone(),
                btf_id: a.type_id,
                btf: intern(btfs, &a.place, self.target),
                member: Some(a.member),
                program: None,
            })),
            // Named by a map whose kernel type is not known here.
            None if !self.missing.is_empty() => Ok(None),
            None => Err(LoadError::new(
                K::AttachTarget,
                "struct_ops program isn't referenced by any map",
            )),
        }
    }
}

impl Opened {
    /// What the CO-RE relocation of an instruction asks of the kernel's types: `struct tcp_sock.snd_cwnd`.  `slot` is
    /// of the linked program; None where there is no relocation.
    pub fn core_access(&self, program: &Program, slot: u32) -> Option<String> {
        let origin = program.subprogs.iter().rfind(|s| s.insn_off <= slot)?;
        let within = origin.section_insn_off + (slot - origin.insn_off);
        let sections = self.ext.as_ref()?.core.iter().filter(|s| s.name == origin.section);
        let record = sections.flat_map(|s| &s.records).find(|r| r[0] / 8 == within)?;
        core::describe(self.btf.as_ref()?, record)
    }
}

/// Function and slot a CO-RE record applies to; `None` for code that was overridden when objects were linked.
fn core_place(
    opened: &Opened,
    section: usize,
    record: &[u32; 4],
) -> Result<Option<(usize, usize)>, LoadError> {
    if !record[0].is_multiple_of(8) {
        return Err(LoadError::new(K::CoRe, format!("relocation at odd offset {}", record[0])));
    }
    let slot = record[0] as usize / 8;
    Ok(opened.func_at(section, slot).map(|i| (i, slot - opened.funcs[i].insn_off)))
}

fn apply_core(
    btf: &Btf,
    record: &[u32; 4],
    number: usize,
    section: &str,
    candidates: &mut Candidates<'_>,
    func: &mut RelocatedFunc,
    insn: usize,
) -> Result<(), LoadError> {
    let [insn_off, type_id, access_str_off, kind] = *record;
    let relo = crate::btf_ext::CoreRelo { insn_off, type_id, access_str_off, kind };
    let outcome = core::relocate(btf, &relo, candidates, &mut func.insns, insn);
    match outcome.map_err(|e| e.in_section(0, section).at_relocation(number))? {
        Outcome::Done => {}
        Outcome::Missing(what) => func.missing.push(what),
    }
    Ok(())
}

/// Stack traces of the kernel's usual depth (`PERF_MAX_STACK_DEPTH` addresses of 8 bytes).
const STACK_TRACE_VALUE: u32 = 127 * 8;

/// What libbpf settles when it creates a map, and sizes that an application would have set.
fn finish_map(def: &mut MapDef, target: &Target<'_>, btf: Option<&Btf>, notes: &mut Vec<String>) {
    if let Some(inner) = &mut def.inner {
        finish_map(inner, target, btf, notes);
    }
    if def.map_type == MapType::PerfEventArray && def.max_entries == 0 {
        def.max_entries = target.possible_cpus;
    }
    if def.map_type != MapType::StructOps && !has_types(def, btf) {
        def.btf_key_type_id = 0;
        def.btf_value_type_id = 0;
    }
    if def.max_entries == 0 && !def.map_type.uses().sizeless {
        def.unset.max_entries = true;
        def.max_entries =
            if matches!(def.map_type, MapType::Ringbuf | MapType::UserRingbuf) { 4096 } else { 1 };
        let name = &def.source_name;
        notes.push(format!("map '{name}' has max_entries 0: judged as if the loader had set it"));
    }
    if def.value_size == 0 && def.map_type == MapType::StackTrace {
        def.unset.value_size = true;
        def.value_size = STACK_TRACE_VALUE;
        let name = &def.source_name;
        notes.push(format!("map '{name}' has value_size 0: judged as if the loader had set it"));
    }
}

/// True if the map is created with the types its definition names: libbpf never tries for some map types, and tries
/// again without where the kernel refuses.
fn has_types(def: &MapDef, btf: Option<&Btf>) -> bool {
    let untyped = def.map_type.uses().no_btf;
    !untyped && btf.is_some_and(|b| map_btf::is_taken(b, def))
}

/// Index of a kernel BTF in a program's list, added if it is new.
pub(crate) fn intern(btfs: &mut Vec<KernelBtfRef>, place: &Place, target: &Target<'_>) -> u32 {
    let wanted = match place {
        Place::Vmlinux => return 0,
        Place::Module(i) => {
            KernelBtfRef::Module(target.modules.get(*i).map_or(String::new(), |(n, _)| n.clone()))
        }
    };
    let at = btfs.iter().position(|b| *b == wanted).unwrap_or_else(|| {
        btfs.push(wanted);
        btfs.len() - 1
    });
    at as u32
}
