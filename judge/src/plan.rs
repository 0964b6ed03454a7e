//! What a loader handed to a kernel, call by call, to be judged for others.
//!
//! A plan holds the maps, types and programs that one run of a loader gave to `bpf(2)`, after whatever it did to its
//! objects: sizes set, constants written, CO-RE applied.  Ids of the recording kernel's types stand by name, so that
//! other kernels can be asked; offsets that CO-RE wrote stay as they are.

use std::sync::Arc;

use bpfassay_isa::{opcode, RawInsn};
use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_object::model::{
    AttachTarget, FuncInfo, KernelBtfRef, LineInfo, MapDef, ProgFlags, Program,
};
use bpfassay_object::{LoadErrorKind, Object};
use bpfassay_spec::profile::{base64_decode, BtfBlob};
use bpfassay_spec::{AttachType, MapType, ProgType};
use serde::{Deserialize, Serialize};

use crate::maps::judge_maps;
use crate::report::ObjectError;
use crate::target::{Entry, Linked, Target};

/// Value of `schema`.
pub const PLAN_SCHEMA: &str = "bpfassay.plan/1";

/// One run of a loader.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub schema: String,
    /// `uname -r` of the kernel that was asked.
    pub kernel: String,
    /// The command that was run.
    pub command: Vec<String>,
    /// In the order of creation.
    pub maps: Vec<PlanMap>,
    /// The types that were loaded, which maps and programs refer to by place.
    pub btfs: Vec<BtfBlob>,
    /// In the order of the calls.
    pub programs: Vec<PlanProgram>,
}

/// `BPF_MAP_CREATE`, and what was put into the map before programs were loaded.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct PlanMap {
    pub name: String,
    /// Number of `enum bpf_map_type`.
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub map_extra: u64,
    pub numa_node: u32,
    /// Place in [`Plan::btfs`].
    pub btf: Option<usize>,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    /// struct_ops: the kernel's struct that the value is.
    pub kernel_value: Option<PlanType>,
    /// Place in [`Plan::maps`].
    pub inner: Option<usize>,
    /// Value of the only element (base64), of maps that were frozen.
    pub frozen: Option<String>,
}

/// `BPF_PROG_LOAD`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct PlanProgram {
    pub name: String,
    /// Number of `enum bpf_prog_type`.
    pub prog_type: u32,
    /// Number of `enum bpf_attach_type`; for struct_ops the member is in [`PlanTarget`].
    pub expected_attach_type: u32,
    pub prog_flags: u32,
    pub license: String,
    pub kern_version: u32,
    /// Slots as given (base64): descriptors and ids in them are replaced by what the lists below say.
    pub insns: String,
    /// Slot and place in [`Plan::maps`] of each LD_IMM64 of a map.
    pub map_refs: Vec<(u32, usize)>,
    /// Slot and function of each kfunc call.
    pub kfunc_refs: Vec<(u32, PlanType)>,
    /// Slot and variable of each LD_IMM64 of a kernel variable.
    pub variable_refs: Vec<(u32, PlanType)>,
    pub attach: Option<PlanTarget>,
    /// Place in [`Plan::btfs`].
    pub btf: Option<usize>,
    /// Slot and type id.
    pub func_info: Vec<(u32, u32)>,
    /// Slot, file name, line text, line and column.
    pub line_info: Vec<(u32, u32, u32, u32)>,
    /// What the loader got: 0, or an errno.
    pub errno: i32,
    /// What cannot be judged from the call alone; the program is then unsupported.
    pub lacks: Vec<String>,
}

/// A type of the kernel's by name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct PlanType {
    pub name: String,
    /// Module, or none for the kernel itself.
    pub module: Option<String>,
    /// Number of the BTF kind.
    pub kind: u32,
}

/// What a program attaches to by BTF.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct PlanTarget {
    #[serde(rename = "type")]
    pub of: PlanType,
    /// struct_ops: the member that the program fills.
    pub member: Option<String>,
}

/// Most slots of one program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MOST_SLOTS: usize = 1_000_000;

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Text that is no plan, with the place.
    pub fn parse(text: &str) -> Result<Plan, String> {
        let plan: Plan = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match plan.schema == PLAN_SCHEMA {
            true => Ok(plan),
            false => Err(format!("schema `{}` is not {PLAN_SCHEMA}", plan.schema)),
        }
    }

    /// The programs and maps of the plan, for a kernel.
    pub fn link(&self, target: &Target) -> Linked {
        let maps: Vec<MapDef> = (0..self.maps.len()).map(|i| self.map(i, 0, target)).collect();
        let btfs: Vec<Result<Arc<Btf>, String>> = self.btfs.iter().map(read_btf).collect();
        let shared = Arc::new(maps);
        let link = |p: &PlanProgram| {
            let linker = Linker { plan: self, target, maps: &shared, btfs: &btfs };
            let program = linker.program(p).map_err(|e| ObjectError {
                kind: e.kind.to_string(),
                message: format!("program '{}': {}", p.name, e.what),
            });
            Entry { name: p.name.clone(), section: String::new(), served_by: None, program }
        };
        let entries = self.programs.iter().map(link).collect();
        // Types of maps may come from several blobs; the first serves for judging their creation.
        let object = Object {
            name: String::new(),
            license: String::new(),
            programs: Vec::new(),
            map_slots: vec![Vec::new(); shared.len()],
            maps: shared.clone(),
            btf: btfs.first().and_then(|b| b.as_ref().ok()).cloned(),
            notes: Vec::new(),
        };
        Linked { entries, maps: judge_maps(&object, target) }
    }

    fn map(&self, at: usize, depth: u32, target: &Target) -> MapDef {
        let m = &self.maps[at];
        let map_type = MapType::from_number(m.map_type);
        let frozen = m.frozen.as_deref().map(base64_decode);
        let inner = m.inner.filter(|i| depth == 0 && *i < self.maps.len());
        MapDef {
            key_size: m.key_size,
            value_size: m.value_size,
            max_entries: m.max_entries,
            map_flags: m.map_flags,
            map_extra: m.map_extra,
            numa_node: m.numa_node,
            btf_key_type_id: m.btf_key_type_id,
            btf_value_type_id: m.btf_value_type_id,
            btf_vmlinux_value_type_id: m
                .kernel_value
                .as_ref()
                .and_then(|t| find(t, target, &mut Vec::new()))
                .map_or(0, |(id, _)| id),
            inner: inner.map(|i| Box::new(self.map(i, depth + 1, target))),
            frozen: m.frozen.is_some(),
            initial: frozen.and_then(Result::ok).map(Arc::new),
            refused: match map_type {
                Some(_) => None,
                None => Some(format!("map type {} is not known", m.map_type)),
            },
            ..MapDef::bare(&m.name, &m.name, map_type.unwrap_or(MapType::Unspec))
        }
    }
}

fn read_btf(blob: &BtfBlob) -> Result<Arc<Btf>, String> {
    let bytes = blob.bytes().map_err(|e| e.to_string())?;
    Btf::parse(&bytes, None).map(Arc::new).map_err(|e| e.to_string())
}

/// Why a program of a plan is none on a kernel.
struct Unlinked {
    kind: &'static str,
    what: String,
}

impl Unlinked {
    /// The kernel has not got what the recording one had: a loader would refuse the program there.
    fn absent(what: &str, name: &str) -> Unlinked {
        Unlinked {
            kind: LoadErrorKind::Absent.name(),
            what: format!("the kernel has no {what} {name}"),
        }
    }
}

impl<S: Into<String>> From<S> for Unlinked {
    fn from(what: S) -> Unlinked {
        Unlinked { kind: "plan", what: what.into() }
    }
}

/// For one program on one kernel.
struct Linker<'a> {
    plan: &'a Plan,
    target: &'a Target,
    maps: &'a Arc<Vec<MapDef>>,
    btfs: &'a [Result<Arc<Btf>, String>],
}

impl Linker<'_> {
    fn program(&self, p: &PlanProgram) -> Result<Program, Unlinked> {
        let prog_type = ProgType::from_number(p.prog_type)
            .ok_or_else(|| format!("program type {} is not known", p.prog_type))?;
        let bytes =
            base64_decode(&p.insns).map_err(|at| format!("insns: byte {at} is no base64"))?;
        let (slots, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || slots.len() > MOST_SLOTS {
            return Err(format!("{} bytes of instructions", bytes.len()).into());
        }
        let mut insns: Vec<RawInsn> = slots.iter().map(|b| RawInsn::from_le_bytes(*b)).collect();
        let mut btfs = vec![KernelBtfRef::Vmlinux];
        for (slot, map) in &p.map_refs {
            let at = insns.get_mut(*slot as usize).ok_or("a map beyond the last instruction")?;
            if *map >= self.plan.maps.len() {
                return Err(format!("no map {map}").into());
            }
            at.imm = *map as i32;
        }
        for (slot, function) in &p.kfunc_refs {
            let found = find(function, self.target, &mut btfs);
            let at = insns.get_mut(*slot as usize).ok_or("a call beyond the last instruction")?;
            match found {
                Some((id, place)) => (at.imm, at.off) = (id as i32, place as i16),
                None => return Err(Unlinked::absent("function", &function.name)),
            }
        }
        for (slot, variable) in &p.variable_refs {
            let found = find(variable, self.target, &mut btfs);
            let slot = *slot as usize;
            let [first, second] = insns.get_mut(slot..slot + 2).unwrap_or_default() else {
                return Err("a variable beyond the last instruction".into());
            };
            match found {
                Some((id, place)) => (first.imm, second.imm) = (id as i32, place as i32),
                None => return Err(Unlinked::absent("variable", &variable.name)),
            }
        }
        let btf = match p.btf {
            None => None,
            Some(i) => Some(self.btfs.get(i).cloned().ok_or_else(|| format!("no BTF {i}"))??),
        };
        let attach_target = match &p.attach {
            None => None,
            Some(to) => Some(self.attach_target(to, &mut btfs)?),
        };
        let is_member = prog_type == ProgType::StructOps;
        let answer = match p.errno {
            0 => format!("Linux {} accepted it when it was recorded", self.plan.kernel),
            e => {
                format!("Linux {} refused it with errno {e} when it was recorded", self.plan.kernel)
            }
        };
        Ok(Program {
            expected_attach_type: match is_member {
                true => None,
                false => AttachType::from_number(p.expected_attach_type)
                    .filter(|_| p.expected_attach_type != 0 || attach_target.is_some()),
            },
            attach_target,
            license: p.license.clone(),
            maps: self.maps.clone(),
            btf,
            btfs,
            func_info: p
                .func_info
                .iter()
                .map(|(insn_off, type_id)| FuncInfo { insn_off: *insn_off, type_id: *type_id })
                .collect(),
            line_info: p.line_info.iter().map(line).collect(),
            flags: ProgFlags::default().with_bits(p.prog_flags),
            kern_version: p.kern_version,
            notes: vec![answer],
            missing: p.lacks.clone(),
            ..Program::bare(p.name.clone(), prog_type, insns)
        })
    }

    fn attach_target(
        &self,
        to: &PlanTarget,
        btfs: &mut Vec<KernelBtfRef>,
    ) -> Result<AttachTarget, Unlinked> {
        let (btf_id, btf) = find(&to.of, self.target, btfs)
            .ok_or_else(|| Unlinked::absent("function or type", &to.of.name))?;
        let prefixes = ["btf_trace_", "bpf_lsm_", "bpf_iter_"];
        let name = prefixes.iter().find_map(|p| to.of.name.strip_prefix(p));
        let member = match &to.member {
            None => None,
            Some(name) => Some(self.member(btf_id, name)?),
        };
        let name = name.unwrap_or(&to.of.name).to_string();
        Ok(AttachTarget { name, btf_id, btf: btf as u32, member, program: None })
    }

    fn member(&self, of: u32, name: &str) -> Result<u32, String> {
        let vmlinux = self.target.vmlinux.as_ref().ok_or("the kernel's types are not known")?;
        let ty = vmlinux.ty(of).filter(|t| t.kind() == BtfKind::Struct);
        let at = ty.and_then(|t| t.members().position(|m| vmlinux.str(m.name_off) == name));
        at.map(|i| i as u32).ok_or_else(|| format!("the kernel's struct has no member {name}"))
    }
}

/// Id of a type in a kernel, and the place of its BTF among the program's.
fn find(wanted: &PlanType, target: &Target, btfs: &mut Vec<KernelBtfRef>) -> Option<(u32, usize)> {
    let of = |t: &Type<'_>| t.kind() as u32 == wanted.kind;
    let id = |btf: &Btf| btf.find_by_name(&wanted.name).find(of).map(|t| t.id());
    if let Some(id) = id(target.vmlinux.as_ref()?) {
        return Some((id, 0));
    }
    // What was a module's may be built in elsewhere, and the other way round.
    let (name, found) = target.modules.iter().find_map(|(n, b)| Some((n, id(b)?)))?;
    let module = KernelBtfRef::Module(name.clone());
    let place = btfs.iter().position(|b| *b == module).unwrap_or_else(|| {
        btfs.push(module);
        btfs.len() - 1
    });
    Some((found, place))
}

fn line(row: &(u32, u32, u32, u32)) -> LineInfo {
    let (insn_off, file_name_off, line_off, line_col) = *row;
    LineInfo { insn_off, file_name_off, line_off, line_col }
}

/// Slots of a program whose descriptors and ids a plan must name: what `imm` of the slot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reference {
    /// LD_IMM64 of a map by descriptor.
    MapFd,
    /// LD_IMM64 of a map by place in the descriptors handed over.
    MapIdx,
    /// A kfunc: id in the BTF that `off` names.
    Kfunc,
    /// LD_IMM64 of a kernel variable: id in the BTF that the second slot names.
    Variable,
}

/// Every reference of a program, slot by slot.
pub fn references(insns: &[RawInsn]) -> Vec<(u32, Reference)> {
    let mut out = Vec::new();
    let mut slot = 0;
    while let Some(insn) = insns.get(slot) {
        let at = slot as u32;
        slot += if insn.is_ld_imm64() { 2 } else { 1 };
        let what = match insn.src {
            opcode::PSEUDO_MAP_FD | opcode::PSEUDO_MAP_VALUE if insn.is_ld_imm64() => {
                Reference::MapFd
            }
            opcode::PSEUDO_MAP_IDX | opcode::PSEUDO_MAP_IDX_VALUE if insn.is_ld_imm64() => {
                Reference::MapIdx
            }
            opcode::PSEUDO_BTF_ID if insn.is_ld_imm64() => Reference::Variable,
            opcode::PSEUDO_KFUNC_CALL if insn.code == opcode::CALL => Reference::Kfunc,
            _ => continue,
        };
        out.push((at, what));
    }
    out
}
