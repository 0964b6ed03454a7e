//! From stopped `bpf(2)` calls to a plan (`union bpf_attr`, include/uapi/linux/bpf.h of 6.18).

use std::collections::HashMap;
use std::fs;

use bpfassay_isa::RawInsn;
use bpfassay_judge::plan::{
    references, Plan, PlanMap, PlanProgram, PlanTarget, PlanType, Reference,
};
use bpfassay_object::btf::Type;
use bpfassay_spec::profile::{base64_encode, BtfBlob};
use bpfassay_spec::ProgType;

use super::ptrace::read;
use super::Types;

/// Most bytes of instructions, types or records that one call may name.
const MOST: usize = 64 << 20;
/// Most bytes of a map's value that are kept.
const MOST_VALUE: usize = 16 << 20;

/// A call as it was entered: memory is read when it begins, because it may change afterwards.
pub struct Attr {
    tid: i32,
    cmd: u64,
    bytes: Vec<u8>,
    program: Option<Load>,
}

/// What `BPF_PROG_LOAD` points to.
struct Load {
    insns: Vec<RawInsn>,
    license: String,
    func_info: Vec<u8>,
    line_info: Vec<u8>,
    fd_array: Vec<u8>,
}

impl Attr {
    pub fn read(tid: i32, args: [u64; 6]) -> Attr {
        let [cmd, addr, size, ..] = args;
        let bytes = read(tid, addr, (size as usize).min(4096));
        let mut attr = Attr { tid, cmd, bytes, program: None };
        if cmd == PROG_LOAD {
            attr.program = Some(attr.load());
        }
        attr
    }

    fn u32(&self, at: usize) -> u32 {
        let b = self.bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        b.map_or(0, u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }

    fn name(&self, at: usize) -> String {
        let bytes = self.bytes.get(at..at + 16).unwrap_or(&[]);
        text(bytes)
    }

    fn pointed(&self, at: usize, len: usize) -> Vec<u8> {
        match self.u64(at) {
            0 => Vec::new(),
            addr => read(self.tid, addr, len.min(MOST)),
        }
    }

    fn load(&self) -> Load {
        let insns = self.pointed(8, self.u32(4) as usize * 8);
        let insns: Vec<RawInsn> =
            insns.as_chunks::<8>().0.iter().map(|b| RawInsn::from_le_bytes(*b)).collect();
        let indices = references(&insns).into_iter().filter_map(|(slot, what)| {
            let insn = insns.get(slot as usize)?;
            match what {
                Reference::MapIdx => Some(insn.imm),
                Reference::Kfunc => Some(i32::from(insn.off)),
                Reference::MapFd | Reference::Variable => None,
            }
        });
        let most = indices.max().map_or(0, |i| (i.max(0) as usize + 1).min(1 << 16));
        Load {
            license: text(&self.pointed(16, 128)),
            func_info: self.pointed(80, self.u32(88) as usize * self.u32(76) as usize),
            line_info: self.pointed(96, self.u32(104) as usize * self.u32(92) as usize),
            fd_array: self.pointed(120, most * 4),
            insns,
        }
    }

    /// A number that the kernel shows of a descriptor: `map_id`, `btf_id`.
    fn id_of(&self, fd: u32, field: &str) -> Option<u32> {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.tid)).ok()?;
        let line = info.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

// enum bpf_cmd
const MAP_CREATE: u64 = 0;
const MAP_UPDATE_ELEM: u64 = 2;
const PROG_LOAD: u64 = 5;
const BTF_LOAD: u64 = 18;
const MAP_FREEZE: u64 = 22;

/// What was noted so far, and the kernel's ids of it.
pub struct Noted {
    pub plan: Plan,
    maps: HashMap<u32, usize>,
    btfs: HashMap<u32, usize>,
    /// Last value of the only element of small maps, kept until the map is frozen.
    values: HashMap<usize, Vec<u8>>,
}

impl Noted {
    pub fn new(plan: Plan) -> Noted {
        Noted { plan, maps: HashMap::new(), btfs: HashMap::new(), values: HashMap::new() }
    }

    /// A call has come back.
    pub fn call(&mut self, attr: &Attr, result: i64, types: &Types<'_>) {
        match attr.cmd {
            MAP_CREATE if result >= 0 => self.map(attr, result as u32, types),
            MAP_UPDATE_ELEM if result == 0 => self.update(attr),
            MAP_FREEZE if result == 0 => {
                if let Some(at) = self.map_of(attr, attr.u32(0)) {
                    let value = self.values.remove(&at).unwrap_or_default();
                    self.plan.maps[at].frozen = Some(base64_encode(&value));
                }
            }
            BTF_LOAD if result >= 0 => self.types(attr, result as u32),
            PROG_LOAD => self.program(attr, result, types),
            _ => {}
        }
    }

    fn map_of(&self, attr: &Attr, fd: u32) -> Option<usize> {
        self.maps.get(&attr.id_of(fd, "map_id")?).copied()
    }

    fn btf_of(&self, attr: &Attr, fd: u32) -> Option<usize> {
        self.btfs.get(&attr.id_of(fd, "btf_id")?).copied()
    }

    fn map(&mut self, attr: &Attr, fd: u32, types: &Types<'_>) {
        let Some(id) = attr.id_of(fd, "map_id") else { return };
        let typed = attr.u32(52) != 0 || attr.u32(56) != 0;
        let kernel_value = match attr.u32(60) {
            0 => None,
            id => type_of(attr, types, id, attr.u32(72)),
        };
        let inner = if attr.u32(20) != 0 { self.map_of(attr, attr.u32(20)) } else { None };
        self.maps.insert(id, self.plan.maps.len());
        self.plan.maps.push(PlanMap {
            name: attr.name(28),
            map_type: attr.u32(0),
            key_size: attr.u32(4),
            value_size: attr.u32(8),
            max_entries: attr.u32(12),
            map_flags: attr.u32(16),
            map_extra: attr.u64(64),
            numa_node: attr.u32(24),
            btf: if typed { self.btf_of(attr, attr.u32(48)) } else { None },
            btf_key_type_id: attr.u32(52),
            btf_value_type_id: attr.u32(56),
            kernel_value,
            inner,
            frozen: None,
        });
    }

    fn update(&mut self, attr: &Attr) {
        let Some(at) = self.map_of(attr, attr.u32(0)) else { return };
        let map = &self.plan.maps[at];
        if map.max_entries == 1 && map.value_size as usize <= MOST_VALUE {
            let value = attr.pointed(16, map.value_size as usize);
            self.values.insert(at, value);
        }
    }

    fn types(&mut self, attr: &Attr, fd: u32) {
        let Some(id) = attr.id_of(fd, "btf_id") else { return };
        let blob = BtfBlob::inline("program", &attr.pointed(0, attr.u32(16) as usize));
        let same = self.plan.btfs.iter().position(|b| b.sha256 == blob.sha256);
        let at = same.unwrap_or_else(|| {
            self.plan.btfs.push(blob);
            self.plan.btfs.len() - 1
        });
        self.btfs.insert(id, at);
    }

    fn program(&mut self, attr: &Attr, result: i64, types: &Types<'_>) {
        let Some(load) = &attr.program else { return };
        let prog_type = attr.u32(0);
        let mut out = PlanProgram {
            name: attr.name(48),
            prog_type,
            expected_attach_type: attr.u32(68),
            prog_flags: attr.u32(44),
            license: load.license.clone(),
            kern_version: attr.u32(40),
            insns: base64_encode(
                &load.insns.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<_>>(),
            ),
            map_refs: Vec::new(),
            kfunc_refs: Vec::new(),
            variable_refs: Vec::new(),
            attach: None,
            btf: None,
            func_info: records(&load.func_info, attr.u32(76), |w| (w(0), w(1))),
            line_info: records(&load.line_info, attr.u32(92), |w| (w(0), w(1), w(2), w(3))),
            errno: if result < 0 { (-result) as i32 } else { 0 },
            lacks: Vec::new(),
        };
        if attr.u32(72) != 0 {
            match self.btf_of(attr, attr.u32(72)) {
                Some(at) => out.btf = Some(at),
                None => {
                    out.lacks.push("the program's types, loaded before the recording".to_string())
                }
            }
        }
        self.references(attr, load, types, &mut out);
        self.attach(attr, types, &mut out);
        // Loaders ask again for the log.
        let again =
            self.plan.programs.last().is_some_and(|p| {
                p.errno != 0 && PlanProgram { errno: out.errno, ..p.clone() } == out
            });
        if again {
            self.plan.programs.pop();
        }
        self.plan.programs.push(out);
    }

    fn references(&self, attr: &Attr, load: &Load, types: &Types<'_>, out: &mut PlanProgram) {
        let fd_at = |i: i32| {
            let at = usize::try_from(i).ok()? * 4;
            Some(u32::from_le_bytes(load.fd_array.get(at..at + 4)?.try_into().ok()?))
        };
        for (slot, what) in references(&load.insns) {
            let insn = load.insns[slot as usize];
            let map = match what {
                Reference::MapFd => Some(insn.imm as u32),
                Reference::MapIdx => fd_at(insn.imm),
                Reference::Kfunc | Reference::Variable => None,
            };
            match what {
                Reference::MapFd | Reference::MapIdx => {
                    match map.and_then(|fd| self.map_of(attr, fd)) {
                        Some(at) => out.map_refs.push((slot, at)),
                        None => out.lacks.push(format!("the map of instruction {slot}")),
                    }
                }
                Reference::Kfunc => {
                    let fd = if insn.off == 0 { Some(0) } else { fd_at(i32::from(insn.off)) };
                    match fd.and_then(|fd| type_of(attr, types, insn.imm as u32, fd)) {
                        Some(t) => out.kfunc_refs.push((slot, t)),
                        None => out.lacks.push(format!("the function of instruction {slot}")),
                    }
                }
                Reference::Variable => {
                    let fd = load.insns.get(slot as usize + 1).map_or(0, |s| s.imm as u32);
                    match type_of(attr, types, insn.imm as u32, fd) {
                        Some(t) => out.variable_refs.push((slot, t)),
                        None => out.lacks.push(format!("the variable of instruction {slot}")),
                    }
                }
            }
        }
    }

    fn attach(&self, attr: &Attr, types: &Types<'_>, out: &mut PlanProgram) {
        let (id, fd) = (attr.u32(108), attr.u32(112));
        if id == 0 {
            return;
        }
        if ProgType::from_number(out.prog_type) == Some(ProgType::Ext)
            || fd != 0 && attr.id_of(fd, "prog_id").is_some()
        {
            out.lacks.push("the program that it attaches to".to_string());
            return;
        }
        let Some(of) = type_of(attr, types, id, fd) else {
            out.lacks.push("what it attaches to".to_string());
            return;
        };
        let is_ops = ProgType::from_number(out.prog_type) == Some(ProgType::StructOps);
        let member = is_ops.then(|| {
            let ty = types.vmlinux.ty(id)?;
            let member = ty.members().nth(out.expected_attach_type as usize)?;
            Some(types.vmlinux.str(member.name_off).to_string())
        });
        out.attach = Some(PlanTarget { of, member: member.flatten() });
    }
}

/// A type of the running kernel by name; `fd` is 0, or of a module's BTF.
fn type_of(attr: &Attr, types: &Types<'_>, id: u32, fd: u32) -> Option<PlanType> {
    let named = |t: Type<'_>, module: Option<String>| PlanType {
        name: t.name().to_string(),
        module,
        kind: t.kind() as u32,
    };
    if fd == 0 {
        return types.vmlinux.ty(id).map(|t| named(t, None));
    }
    // A module's ids begin after vmlinux's, and the descriptor does not say whose it is: only one may have it.
    attr.id_of(fd, "btf_id")?;
    let mut found = types.modules.iter().filter_map(|(name, btf)| Some((name, btf.ty(id)?)));
    let (name, ty) = found.next()?;
    found.next().is_none().then(|| named(ty, Some(name.clone())))
}

/// Records of a size that the call states, of which the first words are known.
fn records<T>(bytes: &[u8], size: u32, of: impl Fn(&dyn Fn(usize) -> u32) -> T) -> Vec<T> {
    let words = |r: &[u8], i: usize| {
        let word = r.get(i * 4..i * 4 + 4).and_then(|b| b.try_into().ok());
        word.map_or(0, u32::from_le_bytes)
    };
    match size {
        0 => Vec::new(),
        n => bytes.chunks_exact(n as usize).map(|r| of(&|i| words(r, i))).collect(),
    }
}
