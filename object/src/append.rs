//! One program out of many functions: subprograms appended in the order of their first use, calls pointed at them,
//! function and line info moved along (libbpf: `bpf_object__reloc_code` and what it calls).

use std::collections::HashMap;

use bpfassay_isa::{opcode, RawInsn};

use crate::btf::{linkage, BtfKind};
use crate::btf_ext::SecRecords;
use crate::error::{LoadError, LoadErrorKind as K};
use crate::jump_tables::JumpTables;
use crate::link::RelocatedFunc;
use crate::model::{FuncInfo, LineInfo, SubprogOrigin};
use crate::open::{Opened, INSN_LEN};
use crate::reloc::{Reloc, Target, PSEUDO_CALL};

/// `BPF_PSEUDO_FUNC`.
const PSEUDO_FUNC: u8 = 4;
/// Slots of one program; the kernel takes a million.
const MAX_INSNS: usize = 4 << 20;

/// Slots that a function counts for beyond its own: names and places are kept for each.
const FUNCTION_COST: usize = 16;

/// A program in the making.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    pub insns: Vec<RawInsn>,
    /// Relocations of all appended functions, by slot in `insns`, with the function they stood in.
    pub relocs: Vec<(usize, Reloc, usize)>,
    pub func_info: Vec<FuncInfo>,
    pub line_info: Vec<LineInfo>,
    pub subprogs: Vec<SubprogOrigin>,
    pub missing: Vec<String>,
    pub jump_tables: JumpTables,
}

/// `__exception_cb(…)` tags: entry program's name to what libbpf makes of it.
#[derive(Debug, Default)]
pub(crate) struct ExceptionCallbacks {
    by_program: HashMap<String, Result<Option<usize>, String>>,
    /// A tag that stops every program.
    misplaced: bool,
}

impl ExceptionCallbacks {
    pub fn find(opened: &Opened) -> ExceptionCallbacks {
        let mut out = ExceptionCallbacks::default();
        let Some(btf) = &opened.btf else { return out };
        for tag in
            btf.own_types().filter(|t| t.kind() == BtfKind::DeclTag && t.component_idx() == -1)
        {
            let Some(callback) = tag.name().strip_prefix("exception_callback:") else { continue };
            let holder = tag
                .target()
                .filter(|t| t.kind() == BtfKind::Func && t.linkage() == linkage::GLOBAL);
            let Some(holder) = holder else {
                out.misplaced = true;
                return out;
            };
            let slot = out.by_program.entry(holder.name().to_string());
            // Two tags on one program: the verifier is left to complain.
            slot.and_modify(|r| *r = Ok(None))
                .or_insert_with(|| resolve_callback(opened, callback).map(Some));
        }
        out
    }
}

fn resolve_callback(opened: &Opened, name: &str) -> Result<usize, String> {
    if name.is_empty() {
        return Err("exception_callback tag without a name".to_string());
    }
    let mut same =
        opened.funcs.iter().enumerate().filter(|(_, f)| opened.is_subprog(f) && f.name == name);
    let Some((i, f)) = same.next() else {
        return Err(format!("cannot find exception callback '{name}'"));
    };
    if !f.is_global || f.is_hidden {
        return Err(format!("exception callback '{name}' must be a global non-hidden function"));
    }
    Ok(i)
}

/// A function being gone through: its index, where it starts in the program, and the next slot to look at.
struct Frame {
    func: usize,
    start: usize,
    next: usize,
}

struct Linker<'a> {
    opened: &'a Opened,
    subprogs: &'a [Option<RelocatedFunc>],
    out: Linked,
    /// Start in the program per appended subprogram.
    placed: HashMap<usize, usize>,
    /// Info of the entry program was found.
    has_funcs: bool,
    has_lines: bool,
}

/// Links the entry program `index`, whose instructions are `entry`.
pub(crate) fn link(
    opened: &Opened,
    subprogs: &[Option<RelocatedFunc>],
    callbacks: &ExceptionCallbacks,
    index: usize,
    entry: RelocatedFunc,
    budget: &mut usize,
) -> Result<Linked, LoadError> {
    let mut l = Linker {
        opened,
        subprogs,
        out: Linked::default(),
        placed: HashMap::new(),
        has_funcs: false,
        has_lines: false,
    };
    let fail = |what: &str| LoadError::new(K::Program, what);
    l.append(index, &entry)?;
    l.run(index, 0)?;
    if callbacks.misplaced {
        return Err(fail("exception_callback tag not on a global function"));
    }
    match callbacks.by_program.get(&opened.funcs[index].name) {
        Some(Err(what)) => return Err(fail(what)),
        Some(Ok(Some(callback))) if !l.placed.contains_key(callback) => {
            let start = l.append_subprog(*callback)?;
            l.run(*callback, start)?;
        }
        _ => {}
    }
    let cost = l.out.insns.len() + FUNCTION_COST * l.out.subprogs.len();
    *budget = budget.checked_sub(cost).ok_or_else(|| {
        LoadError::new(K::TooLarge, "the object's programs are too large together")
    })?;
    Ok(l.out)
}

impl Linker<'_> {
    /// Goes through a function's calls, depth first: what it calls is appended and gone through before the rest.
    fn run(&mut self, func: usize, start: usize) -> Result<(), LoadError> {
        self.add_info(func, start)?;
        let mut stack = vec![Frame { func, start, next: 0 }];
        while let Some(frame) = stack.last_mut() {
            let f = &self.opened.funcs[frame.func];
            if frame.next >= f.insns.len() {
                stack.pop();
                continue;
            }
            let (slot, func, start) = (frame.next, frame.func, frame.start);
            frame.next += 1;
            let Some(callee) = self.callee(func, slot, start + slot)? else { continue };
            if let Some(at) = self.placed.get(&callee).copied() {
                self.point(start + slot, at);
                continue;
            }
            let at = self.append_subprog(callee)?;
            self.point(start + slot, at);
            self.add_info(callee, at)?;
            stack.push(Frame { func: callee, start: at, next: 0 });
        }
        Ok(())
    }

    fn point(&mut self, from: usize, to: usize) {
        if let Some(insn) = self.out.insns.get_mut(from) {
            insn.imm = to as i32 - from as i32 - 1;
        }
    }

    /// Function called, or whose address is taken, by the instruction at `slot` of a function.
    fn callee(&self, func: usize, slot: usize, at: usize) -> Result<Option<usize>, LoadError> {
        let f = &self.opened.funcs[func];
        let insn = self.out.insns.get(at).copied().unwrap_or_default();
        let fail =
            |what: String| LoadError::new(K::Relocation, what).in_program(&f.name).at_insn(slot);
        let found = f.relocs.binary_search_by_key(&slot, |r| r.insn).ok();
        let reloc = found.and_then(|i| f.relocs.get(i));
        let is_call =
            insn.code == opcode::CALL && insn.src == PSEUDO_CALL && insn.dst == 0 && insn.off == 0;
        // The address of a subprogram is told by its relocation; libbpf marks these first.
        let is_addr = insn.is_ld_imm64() && insn.src == PSEUDO_FUNC;
        if !is_call && !is_addr {
            return Ok(None);
        }
        let target = match reloc.map(|r| r.target) {
            // What is refused is said when the whole program is there.
            Some(Target::ExternCall(_) | Target::Refused(_)) => return Ok(None),
            Some(Target::Call(off)) => (off / INSN_LEN as u64) as i64 + insn.imm as i64 + 1,
            Some(Target::SubprogAddr(off)) => {
                (off as i64).wrapping_add(insn.imm as i64) / INSN_LEN as i64
            }
            Some(_) => return Err(fail("unexpected relocation of a call".to_string())),
            None if is_addr => return Err(fail("missing subprog addr relocation".to_string())),
            // A static function of the same section.
            None => f.insn_off as i64 + slot as i64 + insn.imm as i64 + 1,
        };
        let text = self.opened.text;
        let callee = usize::try_from(target).ok().and_then(|t| self.opened.func_at(text, t));
        let callee = callee.filter(|_| text != 0);
        callee.map(Some).ok_or_else(|| fail("calls a function that is not in .text".to_string()))
    }

    fn append_subprog(&mut self, func: usize) -> Result<usize, LoadError> {
        let start = self.out.insns.len();
        let subprogs = self.subprogs;
        match subprogs.get(func) {
            Some(Some(body)) => self.append(func, body)?,
            // A function outside .text is never a callee.
            _ => return Err(LoadError::new(K::Relocation, "callee is not a subprogram")),
        }
        self.placed.insert(func, start);
        Ok(start)
    }

    fn append(&mut self, func: usize, body: &RelocatedFunc) -> Result<(), LoadError> {
        let f = &self.opened.funcs[func];
        let start = self.out.insns.len();
        if start + body.insns.len() > MAX_INSNS {
            return Err(
                LoadError::new(K::TooLarge, "the linked program is too large").in_program(&f.name)
            );
        }
        self.out.insns.extend_from_slice(&body.insns);
        for r in &f.relocs {
            self.out.relocs.push((start + r.insn, *r, func));
            if matches!(r.target, Target::SubprogAddr(_)) {
                if let Some(insn) = self.out.insns.get_mut(start + r.insn) {
                    insn.src = PSEUDO_FUNC;
                }
            }
        }
        self.out.missing.extend(body.missing.iter().cloned());
        self.out.subprogs.push(SubprogOrigin {
            name: f.name.clone(),
            insn_off: start as u32,
            insn_cnt: body.insns.len() as u32,
            section: f.section_name.clone(),
            section_insn_off: f.insn_off as u32,
            is_global: f.is_global && !f.is_hidden,
        });
        Ok(())
    }

    /// Function and line info of one function; the entry program decides whether there is any.
    fn add_info(&mut self, func: usize, start: usize) -> Result<(), LoadError> {
        let Some(ext) = &self.opened.ext else { return Ok(()) };
        let f = &self.opened.funcs[func];
        let is_entry = start == 0;
        let move_by = (start as u32).wrapping_sub(f.insn_off as u32);
        let fail = |what: &str| {
            LoadError::new(K::Btf, format!("missing .BTF.ext {what} info")).in_program(&f.name)
        };
        if is_entry || self.has_funcs {
            let rows = records_of(&ext.funcs, f.section, f.insn_off, f.insns.len());
            if rows.is_empty() && self.has_funcs {
                return Err(fail("function"));
            }
            self.has_funcs |= is_entry && !rows.is_empty();
            self.out.func_info.extend(
                rows.iter().map(|r| FuncInfo {
                    insn_off: (r[0] / 8).wrapping_add(move_by),
                    type_id: r[1],
                }),
            );
        }
        if is_entry || self.has_lines {
            let rows = records_of(&ext.lines, f.section, f.insn_off, f.insns.len());
            if rows.is_empty() && self.has_lines {
                return Err(fail("line"));
            }
            self.has_lines |= is_entry && !rows.is_empty();
            self.out.line_info.extend(rows.iter().map(|r| LineInfo {
                insn_off: (r[0] / 8).wrapping_add(move_by),
                file_name_off: r[1],
                line_off: r[2],
                line_col: r[3],
            }));
        }
        Ok(())
    }
}

/// Records of a run of slots: only the first part of `.BTF.ext` that names the section counts.
fn records_of<const N: usize>(
    parts: &[SecRecords<N>],
    section: usize,
    start: usize,
    len: usize,
) -> &[[u32; N]] {
    let part = parts.iter().find(|p| p.section == section);
    part.and_then(|p| p.records.get(p.range(start, start + len))).unwrap_or(&[])
}
