//! Which helpers and kernel functions a program calls.

use std::collections::BTreeMap;

use bpfassay_isa::insn::CallTarget;
use bpfassay_isa::{decode, Insn};
use bpfassay_object::model::{KernelBtfRef, Program};
use bpfassay_spec::helper::func_id_name;

use bpfassay_judge::Target;

/// Who is called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Callee {
    /// With `bpf_`, as the kernel's log prints it.
    Helper(String),
    Kfunc(String),
}

/// Callees and where each is called first.
///
/// For an accepted program (`visits` not empty) calls in code that the verifier found dead do not count:
/// the kernel removes them.
pub fn calls(program: &Program, target: &Target, visits: &[u32]) -> BTreeMap<Callee, u32> {
    let mut found = BTreeMap::new();
    let mut idx = 0;
    while let Some(raw) = program.insns.get(idx) {
        let next = program.insns.get(idx + 1).copied();
        if let Ok(Insn::Call { target: callee }) = decode(*raw, next) {
            let alive = visits.get(idx).is_none_or(|n| *n > 0);
            if let Some(callee) = name(callee, program, target).filter(|_| alive) {
                found.entry(callee).or_insert(idx as u32);
            }
        }
        idx += if raw.is_ld_imm64() { 2 } else { 1 };
    }
    found
}

fn name(callee: CallTarget, program: &Program, target: &Target) -> Option<Callee> {
    match callee {
        CallTarget::Helper(id) => Some(Callee::Helper(match func_id_name(id) {
            "unknown" => format!("#{id}"),
            name => name.to_string(),
        })),
        CallTarget::Subprog(_) => None,
        CallTarget::Kfunc { btf_id, fd_idx } => {
            let btf = match program.btfs.get(usize::try_from(fd_idx).ok()?) {
                Some(KernelBtfRef::Module(m)) => {
                    target.modules.iter().find(|(n, _)| n == m).map(|(_, b)| b)
                }
                _ => target.vmlinux.as_ref(),
            };
            let id = u32::try_from(btf_id).ok()?;
            let name = btf.map_or("", |b| b.name(id));
            Some(Callee::Kfunc(if name.is_empty() { format!("#{id}") } else { name.to_string() }))
        }
    }
}
