//! Instructions in the kernel's words, with the names of this kernel's functions.

use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_object::model::{KernelBtfRef, Program};
use bpfassay_verifier::log::insn::LogNames;

use crate::target::Target;

/// Names instructions of one program.
pub struct Namer<'a> {
    program: &'a Program,
    target: &'a Target,
    btfs: Vec<Option<Arc<Btf>>>,
}

impl<'a> Namer<'a> {
    pub fn new(program: &'a Program, target: &'a Target) -> Namer<'a> {
        let kernels = program.btfs.iter().map(|b| match b {
            KernelBtfRef::Vmlinux => target.vmlinux.clone(),
            KernelBtfRef::Module(name) => {
                target.modules.iter().find(|(n, _)| n == name).map(|(_, b)| b.clone())
            }
        });
        let btfs = std::iter::once(program.btf.clone()).chain(kernels).collect();
        Namer { program, target, btfs }
    }

    /// `(85) call bpf_map_lookup_elem#1`.
    pub fn insn(&self, idx: u32) -> String {
        let Some(insn) = self.program.insns.get(idx as usize).copied() else {
            return String::new();
        };
        let next = self.program.insns.get(idx as usize + 1).copied();
        let names = LogNames {
            kernel: Some(&self.target.kernel),
            btfs: &self.btfs,
            may_leak_pointers: true,
        };
        bpfassay_isa::disasm::Text { insn, next, names: &names }.to_string()
    }
}
