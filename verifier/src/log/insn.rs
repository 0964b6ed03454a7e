//! Instructions as the log shows them (`verbose_insn`).

use std::fmt::{self, Write};
use std::sync::Arc;

use bpfassay_isa::disasm::{write_insn, Names};
use bpfassay_isa::field::{AluCode, Class, Mode};
use bpfassay_isa::{Imm64, Insn, RawInsn};
use bpfassay_object::btf::Btf;
use bpfassay_spec::helper::func_id_name;
use bpfassay_spec::{Kernel, MapType};

use crate::env::{AuxUse, Env};
use crate::trace;

/// Names of the kernel verifier's own printing: helpers by table, kfuncs by BTF.
pub struct LogNames<'a> {
    /// Whose helpers have names; None for all that any kernel has.
    pub kernel: Option<&'a Kernel>,
    /// As [`Env::btfs`]: the program's own first, then those instructions index.  Empty: kfuncs by number.
    pub btfs: &'a [Option<Arc<Btf>>],
    pub may_leak_pointers: bool,
}

impl Names for LogNames<'_> {
    fn helper(&self, id: i32, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        match self.kernel.map_or_else(|| func_id_name(id), |k| k.helper_name(id)) {
            "unknown" => Ok(false),
            name => out.write_str(name).map(|()| true),
        }
    }

    fn call(&self, insn: RawInsn, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let known = self.kernel.is_none_or(|k| k.features.kernel_functions);
        if !insn.is_kfunc_call() || !known {
            return Ok(false);
        }
        let btf = usize::try_from(insn.off).ok().and_then(|i| self.btfs.get(i + 1));
        match btf.and_then(Option::as_deref) {
            Some(btf) => out.write_str(btf.name(insn.imm as u32))?,
            None if self.btfs.is_empty() => return Ok(false),
            None => out.write_str("<error>")?,
        }
        Ok(true)
    }

    fn may_leak_pointers(&self) -> bool {
        self.may_leak_pointers
    }
}

/// `(code) text` and a line end, without the index before it.
pub fn print_insn(env: &mut Env<'_>, insn_idx: u32) {
    if (insn_idx as usize) < env.insns.len() {
        print_insn_only(env, insn_idx);
        trace!(env, "\n");
    }
}

/// `(code) text` (`bpf_verbose_insn` of 7.3).
pub fn print_insn_only(env: &mut Env<'_>, insn_idx: u32) {
    let Some((insn, next)) = shown(env, insn_idx) else { return };
    if !env.kernel.features.isa_v4 {
        if let Some(text) = unheard_of(insn) {
            trace!(env, "{}_{:02x}", text, insn.code);
            return;
        }
    }
    let insn = match insn.class() {
        // The offset of younger moves and divisions says nothing there.
        Class::Alu | Class::Alu64 if !env.kernel.features.isa_v4 => RawInsn { off: 0, ..insn },
        _ => insn,
    };
    let names = LogNames {
        kernel: Some(env.kernel),
        btfs: &env.btfs,
        may_leak_pointers: env.allow_ptr_leaks,
    };
    let was = env.log.set_aside(true);
    let _ = write_insn(&mut env.log, &names, insn, next);
    env.log.set_aside(was);
}

/// What kernels before ISA version 4 call an instruction that they do not know.
fn unheard_of(insn: RawInsn) -> Option<&'static str> {
    match insn.class() {
        Class::Alu64 if insn.alu_op() == AluCode::End => Some("BUG_alu64"),
        Class::Ldx if insn.mode() != Mode::Mem => Some("BUG_ldx"),
        _ => None,
    }
}

/// `(code) text` of one instruction.
pub fn insn_text(env: &Env<'_>, insn_idx: u32) -> String {
    let names = LogNames {
        kernel: Some(env.kernel),
        btfs: &env.btfs,
        may_leak_pointers: env.allow_ptr_leaks,
    };
    let mut text = String::new();
    if let Some((insn, next)) = shown(env, insn_idx) {
        let _ = write_insn(&mut text, &names, insn, next);
    }
    text
}

/// The slots of an instruction as the kernel prints them, an address where it has one.
fn shown(env: &Env<'_>, insn_idx: u32) -> Option<(RawInsn, Option<RawInsn>)> {
    let insn = *env.insns.get(insn_idx as usize)?;
    let next = env.insns.get(insn_idx as usize + 1).copied();
    Some(match stand_in_address(env, insn_idx) {
        Some(address) if insn.is_ld_imm64() => {
            let half = |imm: u64, of: RawInsn| RawInsn { imm: imm as u32 as i32, ..of };
            (half(address, insn), next.map(|n| half(address >> 32, n)))
        }
        _ => (insn, next),
    })
}

/// What stands for the address of a map, map value or kernel variable, which only a running kernel has.
fn stand_in_address(env: &Env<'_>, insn_idx: u32) -> Option<u64> {
    const MAPS: u64 = 0xffff_8881_0000_0000;
    const VARIABLES: u64 = 0xffff_ffff_8000_0000;
    /// Where a process would have its arena mapped.
    const ARENA: u64 = 0x7f00_0000_0000;
    let is_value =
        matches!(env.insn(insn_idx), Some(Insn::LoadImm64 { value: Imm64::MapValue { .. }, .. }));
    match env.aux.get(insn_idx as usize)?.used {
        AuxUse::Map { map, off } if is_value && env.map(map).def.map_type == MapType::Arena => {
            let start = env.map(map).def.map_extra;
            Some(if start == 0 { ARENA } else { start } + u64::from(off))
        }
        AuxUse::Map { map, off } => Some(MAPS + (u64::from(map.0) << 30) + u64::from(off)),
        AuxUse::BtfVar { .. } => Some(VARIABLES),
        _ => None,
    }
}
