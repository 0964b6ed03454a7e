//! Values of externs in one kernel, and data references put into instructions
//! (libbpf: `bpf_object__resolve_externs`, `bpf_object__relocate_data`).

use std::collections::HashSet;

use bpfassay_isa::{opcode, RawInsn};

use crate::append::Linked;
use crate::btf::{Btf, BtfKind};
use crate::core::types_are_compat;
use crate::error::{LoadError, LoadErrorKind as K};
use crate::externs::{kconfig_size, Extern, ExternKind, KconfigType};
use crate::jump_tables::Place as TablePlace;
use crate::link::intern;
use crate::model::{written_descriptor, KernelBtfRef};
use crate::open::Opened;
use crate::reloc::Target as Referent;
use crate::target::{Fact, Place, Target};

/// Numbers of helpers that do not exist, by which libbpf marks what was not resolved.
const POISON_MAP: i32 = 2_001_000_000;
const POISON_KFUNC: i32 = 2_002_000_000;
/// Bound on the `.kconfig` map.
const MAX_KCONFIG: u32 = 16 << 20;

/// What an extern is in this kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Resolved {
    Kconfig {
        offset: u32,
    },
    /// Constant address: an untyped symbol, or 0 for a weak one that is not there.
    Address(u64),
    /// Type in a kernel BTF.
    Btf {
        id: u32,
        btf: u32,
    },
    /// Weak function that is not there.
    NoFunc,
    /// Not known: neither value may be assumed.
    Missing {
        what: String,
        is_func: bool,
    },
    /// Not there, or of another type: whoever refers to it is not loaded.
    Refused(Box<LoadError>),
}

/// All externs of an object in one kernel.
pub(crate) struct Values {
    pub externs: Vec<Resolved>,
    /// Contents of the `.kconfig` map.
    pub kconfig: Vec<u8>,
    pub btfs: Vec<KernelBtfRef>,
    /// What the `.kconfig` map lacks; programs read it as a whole.
    pub missing: Vec<String>,
}

fn fail(e: &Extern, what: impl Into<String>) -> LoadError {
    LoadError::new(K::Extern, what).at_symbol(e.symbol, &e.name)
}

/// A strong extern that this kernel has not got: no loader loads what refers to it.
fn absent(e: &Extern, what: impl Into<String>) -> LoadError {
    LoadError::new(K::Absent, what).at_symbol(e.symbol, &e.name)
}

pub(crate) fn resolve(opened: &Opened, target: &Target<'_>) -> Result<Values, LoadError> {
    let size = kconfig_size(&opened.externs).unwrap_or(0);
    if size > MAX_KCONFIG {
        return Err(LoadError::new(K::TooLarge, ".kconfig variables are too large"));
    }
    let mut v = Values {
        externs: Vec::new(),
        kconfig: vec![0; size as usize],
        btfs: vec![KernelBtfRef::Vmlinux],
        missing: Vec::new(),
    };
    for e in &opened.externs {
        let resolved = match &e.kind {
            ExternKind::Kconfig { ty, size, offset, .. } => {
                kconfig(e, *ty, *size, *offset, target, &mut v)
                    .map(|()| Resolved::Kconfig { offset: *offset })
            }
            ExternKind::Ksym { type_id: 0, is_func: false } => untyped(e, target),
            ExternKind::Ksym { type_id, is_func } => typed(opened, e, *type_id, *is_func, target)
                .map(|found| found.into_resolved(&mut v, target)),
            ExternKind::Unusable(why) => Err(fail(e, why.as_str())),
        };
        v.externs.push(match resolved {
            Ok(found) => found,
            Err(e) if opened.loader.refuses_whole_objects() => return Err(e),
            Err(e) => Resolved::Refused(Box::new(e)),
        });
    }
    Ok(v)
}

/// Fills in one `.kconfig` variable.
fn kconfig(
    e: &Extern,
    ty: KconfigType,
    size: u32,
    offset: u32,
    target: &Target<'_>,
    v: &mut Values,
) -> Result<(), LoadError> {
    let place = v.kconfig.get_mut(offset as usize..offset as usize + size as usize);
    let place = place.ok_or_else(|| fail(e, "lies outside the map"))?;
    if e.name.starts_with("CONFIG_") {
        return match (target.kconfig)(&e.name) {
            Fact::Known(value) => set_option(e, ty, place, value.trim_end_matches('\n')),
            Fact::Absent if e.weak => Ok(()),
            Fact::Absent => Err(absent(e, "option is not set in the kernel's configuration")),
            Fact::Unknown => {
                v.missing.push(format!("kernel configuration {}", e.name));
                Ok(())
            }
        };
    }
    let value = match e.name.as_str() {
        "LINUX_KERNEL_VERSION" => target.kernel_version as u64,
        "LINUX_HAS_BPF_COOKIE" => target.features.bpf_cookie as u64,
        "LINUX_HAS_SYSCALL_WRAPPER" => target.features.syscall_wrapper as u64,
        n if n.starts_with("LINUX_") && e.weak => 0,
        _ => return Err(fail(e, "unrecognized virtual extern")),
    };
    set_number(e, ty, place, value)
}

fn set_option(e: &Extern, ty: KconfigType, place: &mut [u8], value: &str) -> Result<(), LoadError> {
    let wrong = |implies: &str| fail(e, format!("value '{value}' implies {implies}"));
    match value.bytes().next() {
        None => Err(fail(e, "option has no value")),
        Some(c @ (b'y' | b'n' | b'm')) => {
            let value = match (ty, c) {
                (KconfigType::Bool, b'm') => return Err(wrong("tristate or char type")),
                (KconfigType::Bool, c) => (c == b'y') as u8,
                // TRI_NO 0, TRI_YES 1, TRI_MODULE 2.
                (KconfigType::Tristate, b'y') => 1,
                (KconfigType::Tristate, b'm') => 2,
                (KconfigType::Tristate, _) => 0,
                (KconfigType::Char { .. }, c) => c,
                _ => return Err(wrong("bool, tristate, or char type")),
            };
            if let Some(first) = place.first_mut() {
                *first = value;
            }
            Ok(())
        }
        Some(b'"') => {
            let text = value.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            let text =
                text.ok_or_else(|| fail(e, format!("invalid string config '{value}'")))?.as_bytes();
            if ty != KconfigType::CharArray {
                return Err(wrong("char array type"));
            }
            let keep = text.len().min(place.len().saturating_sub(1));
            place[..keep].copy_from_slice(&text[..keep]);
            Ok(())
        }
        Some(_) => {
            let number = number(value)
                .ok_or_else(|| fail(e, format!("value '{value}' isn't a valid integer")))?;
            match ty {
                KconfigType::Int { .. } | KconfigType::Char { .. } => {
                    set_number(e, ty, place, number)
                }
                _ => Err(wrong("integer type")),
            }
        }
    }
}

/// As `strtoull` with base 0 reads it: decimal, `0x` or leading-zero octal, with an optional sign.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match hex {
        Some(h) => u64::from_str_radix(h, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => {
            u64::from_str_radix(digits, 8).ok()?
        }
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn set_number(e: &Extern, ty: KconfigType, place: &mut [u8], value: u64) -> Result<(), LoadError> {
    let signed = match ty {
        KconfigType::Int { signed } | KconfigType::Char { signed } => signed,
        KconfigType::Bool if value > 1 => {
            return Err(fail(e, format!("value '{value}' isn't boolean compatible")))
        }
        KconfigType::Bool => false,
        _ => {
            return Err(fail(e, format!("value '{value}' implies integer, char, or boolean type")))
        }
    };
    let bits = place.len() as u32 * 8;
    let fits = match bits {
        64 => true,
        _ if signed => value.wrapping_add(1 << (bits - 1)) < 1 << bits,
        _ => value >> bits == 0,
    };
    if !fits {
        return Err(fail(e, format!("value '{value}' doesn't fit in {} bytes", place.len())));
    }
    let bytes = value.to_le_bytes();
    place.copy_from_slice(&bytes[..place.len()]);
    Ok(())
}

/// `extern const void sym __ksym`: its address.
fn untyped(e: &Extern, target: &Target<'_>) -> Result<Resolved, LoadError> {
    match (target.symbols)(&e.name) {
        Fact::Known(address) => Ok(Resolved::Address(address)),
        Fact::Absent if e.weak => Ok(Resolved::Address(0)),
        Fact::Absent => Err(absent(e, "kernel symbol is not found")),
        Fact::Unknown => {
            Ok(Resolved::Missing { what: format!("kernel symbol {}", e.name), is_func: false })
        }
    }
}

/// A typed symbol before its BTF has an index.
enum Typed {
    Found { id: u32, place: Place },
    Other(Resolved),
}

impl Typed {
    fn into_resolved(self, v: &mut Values, target: &Target<'_>) -> Resolved {
        match self {
            Typed::Found { id, place } => {
                Resolved::Btf { id, btf: intern(&mut v.btfs, &place, target) }
            }
            Typed::Other(r) => r,
        }
    }
}

fn typed(
    opened: &Opened,
    e: &Extern,
    type_id: u32,
    is_func: bool,
    target: &Target<'_>,
) -> Result<Typed, LoadError> {
    let none = || Typed::Other(if is_func { Resolved::NoFunc } else { Resolved::Address(0) });
    // Functions go by their name without flavour, variables by their whole name.
    let (name, kind) =
        if is_func { (e.essential_name(), BtfKind::Func) } else { (e.name.as_str(), BtfKind::Var) };
    let kernel = target.types();
    let Some((place, found)) = kernel.find(name, kind) else {
        if kernel.are_unknown() {
            let what = format!("kernel {} {name}", if is_func { "function" } else { "variable" });
            return Ok(Typed::Other(Resolved::Missing { what, is_func }));
        }
        return if e.weak { Ok(none()) } else { Err(absent(e, "not found in kernel BTF")) };
    };
    let kernel_btf: &Btf = found.btf();
    let theirs = match is_func {
        true => found.type_id(),
        false => kernel_btf.skip_mods_and_typedefs(found.type_id()).map_or(0, |t| t.id()),
    };
    let Some(btf) = &opened.btf else { return Ok(none()) };
    match types_are_compat(btf, type_id, kernel_btf, theirs) {
        Ok(true) => Ok(Typed::Found { id: found.id(), place }),
        _ if is_func && e.weak => Ok(none()),
        _ => Err(fail(e, "incompatible with the kernel's type")),
    }
}

/// Puts maps, variables, externs and kernel functions into the linked instructions.
pub(crate) fn apply(
    opened: &Opened,
    externs: &[Resolved],
    linked: &mut Linked,
) -> Result<(), LoadError> {
    let relocs = std::mem::take(&mut linked.relocs);
    let mut named: HashSet<usize> = HashSet::new();
    for (slot, reloc, func) in &relocs {
        let bad = |what: &str| {
            LoadError::new(K::Relocation, what)
                .in_program(&opened.funcs[*func].name)
                .at_insn(reloc.insn)
        };
        if let Some(e) = refusal(opened, externs, reloc.target) {
            let e = e.clone();
            return Err(if e.place.program.is_some() {
                e
            } else {
                e.in_program(&opened.funcs[*func].name)
            });
        }
        let wide = !matches!(reloc.target, Referent::Call(_) | Referent::ExternCall(_));
        if *slot + wide as usize >= linked.insns.len() {
            return Err(bad("instruction lacks its second half"));
        }
        let insns = &mut linked.insns[*slot..];
        match reloc.target {
            Referent::Map(map) => map_reference(opened, insns, map, opcode::PSEUDO_MAP_FD),
            Referent::Data(map, off) => {
                insns[1].imm = insns[0].imm.wrapping_add(off as i32);
                map_reference(opened, insns, map, opcode::PSEUDO_MAP_VALUE);
            }
            Referent::JumpTable(off, size) => {
                let place = TablePlace {
                    in_section: opened.funcs[*func].insn_off,
                    in_program: slot - reloc.insn,
                };
                let section = &opened.jump_tables;
                let (tables, first) = (&mut linked.jump_tables, opened.maps.len());
                tables
                    .refer(section, (off, size), place, first, &mut insns[0])
                    .map_err(|what| bad(&what))?;
            }
            Referent::ExternLoad(_) if opened.loader.leaves_externs() => {}
            Referent::ExternLoad(i) | Referent::ExternCall(i) => {
                let resolved = externs.get(i).ok_or_else(|| bad("extern vanished"))?;
                if let Resolved::Missing { what, .. } = resolved {
                    if named.insert(i) {
                        linked.missing.push(what.clone());
                    }
                }
                match reloc.target {
                    Referent::ExternCall(_) => {
                        extern_call(&mut insns[0], resolved, i).map_err(bad)?
                    }
                    _ => extern_load(opened, insns, resolved),
                }
            }
            Referent::SubprogAddr(_) if insns[0].src != opcode::PSEUDO_FUNC => {
                return Err(bad("bad instruction"))
            }
            Referent::SubprogAddr(_) | Referent::Call(_) | Referent::Refused(_) => {}
        }
    }
    mark_written_descriptors(&mut linked.insns, &relocs.iter().map(|(slot, ..)| *slot).collect());
    linked.relocs = relocs;
    Ok(())
}

/// Why what is referred to cannot be had, if so.
fn refusal<'a>(
    opened: &'a Opened,
    externs: &'a [Resolved],
    target: Referent,
) -> Option<&'a LoadError> {
    let number = match target {
        Referent::Refused(number) => number,
        Referent::Map(map) | Referent::Data(map, _) => opened.maps.get(map)?.refused?,
        Referent::ExternLoad(_) if opened.loader.leaves_externs() => return None,
        Referent::ExternLoad(i) | Referent::ExternCall(i) => {
            return match externs.get(i)? {
                Resolved::Refused(e) => Some(&**e),
                _ => None,
            }
        }
        Referent::Call(_) | Referent::SubprogAddr(_) | Referent::JumpTable(..) => return None,
    };
    opened.refusals.get(number)
}

/// Descriptors that the object wrote itself are no indices of maps or BTFs: see [`written_descriptor`].
fn mark_written_descriptors(insns: &mut [RawInsn], relocated: &HashSet<usize>) {
    let mut slot = 0;
    while slot < insns.len() {
        if !insns[slot].is_ld_imm64() {
            slot += 1;
            continue;
        }
        if !relocated.contains(&slot) {
            match insns[slot].src {
                opcode::PSEUDO_MAP_FD | opcode::PSEUDO_MAP_VALUE => {
                    insns[slot].imm = written_descriptor(insns[slot].imm);
                }
                // 0 stands for the kernel's own BTF.
                opcode::PSEUDO_BTF_ID => {
                    if let Some(tail) = insns.get_mut(slot + 1).filter(|t| t.imm != 0) {
                        tail.imm = written_descriptor(tail.imm);
                    }
                }
                _ => {}
            }
        }
        slot += 2;
    }
}

fn poison(imm: i32) -> RawInsn {
    RawInsn { code: opcode::CALL, dst: 0, src: 0, off: 0, imm }
}

fn map_reference(opened: &Opened, insns: &mut [RawInsn], map: usize, src: u8) {
    if opened.maps.get(map).is_some_and(|m| m.autocreate) {
        insns[0].src = src;
        insns[0].imm = map as i32;
    } else {
        insns[0] = poison(POISON_MAP.wrapping_add(map as i32));
        insns[1] = insns[0];
    }
}

impl Opened {
    /// Name of the kernel function whose call was made invalid because the kernel lacks it, by the number that the log
    /// prints (`poison_kfunc_call`).
    pub fn absent_function(&self, number: i32) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(POISON_KFUNC)?).ok()?;
        self.externs.get(index).map(|e| e.name.as_str())
    }
}

fn extern_load(opened: &Opened, insns: &mut [RawInsn], resolved: &Resolved) {
    let (src, low, high) = match resolved {
        Resolved::Kconfig { offset } => {
            (opcode::PSEUDO_MAP_VALUE, opened.kconfig_map.unwrap_or(0) as i32, *offset as i32)
        }
        Resolved::Btf { id, btf } => (opcode::PSEUDO_BTF_ID, *id as i32, *btf as i32),
        Resolved::Address(a) => (insns[0].src, *a as i32, (*a >> 32) as i32),
        Resolved::NoFunc | Resolved::Missing { .. } | Resolved::Refused(_) => (insns[0].src, 0, 0),
    };
    insns[0].src = src;
    insns[0].imm = low;
    insns[1].imm = high;
}

fn extern_call(insn: &mut RawInsn, resolved: &Resolved, index: usize) -> Result<(), &'static str> {
    match resolved {
        Resolved::Btf { id, btf } => {
            insn.src = opcode::PSEUDO_KFUNC_CALL;
            insn.imm = *id as i32;
            insn.off = i16::try_from(*btf).map_err(|_| "too many module BTFs")?;
        }
        _ => *insn = poison(POISON_KFUNC.wrapping_add(index as i32)),
    }
    Ok(())
}
