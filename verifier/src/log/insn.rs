//! Instructions as the log shows them (`verbose_insn`).

use std::fmt::{self, Write};
use std::sync::Arc;

use bpfassay_isa::disasm::{write_insn, Names};
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::Btf;
use bpfassay_spec::helper::{func_id_name, MAX_ID};

use crate::env::Env;

/// Names of the kernel verifier's own printing: helpers by table, kfuncs by BTF.
pub struct LogNames<'a> {
    /// As [`Env::btfs`]: the program's own first, then those instructions index.  Empty: kfuncs by number.
    pub btfs: &'a [Option<Arc<Btf>>],
    pub may_leak_pointers: bool,
}

impl Names for LogNames<'_> {
    fn helper(&self, id: i32, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        if !(0..MAX_ID).contains(&id) {
            return Ok(false);
        }
        out.write_str(func_id_name(id)).map(|()| true)
    }

    fn call(&self, insn: RawInsn, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        if !insn.is_kfunc_call() {
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
    let Some(&insn) = env.insns.get(insn_idx as usize) else { return };
    let next = env.insns.get(insn_idx as usize + 1).copied();
    let names = LogNames { btfs: &env.btfs, may_leak_pointers: env.allow_ptr_leaks };
    let _ = write_insn(&mut env.log, &names, insn, next);
    let _ = env.log.write_str("\n");
    env.log.mark_not_message();
}
