//! What a loader hands to the kernel, noted while it runs ([`Plan`]).
//!
//! The command is traced (`ptrace(2)`), so that any loader in any language can be asked; what it attaches it attaches
//! itself.  Linux only.

mod calls;
mod ptrace;

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_judge::plan::{Plan, PLAN_SCHEMA};
use bpfassay_object::btf::Btf;

use crate::kernel::{Host, KernelError};
use calls::{Attr, Noted};
use ptrace::Stop;

/// Runs the command and notes its calls; the plan, and the command's exit status.
///
/// # Errors
/// A kernel whose types cannot be read, or a command that cannot be traced.
pub fn record(command: &[String]) -> Result<(Plan, i32), KernelError> {
    let host = Host::read()?;
    let mut noted = Noted::new(Plan {
        schema: PLAN_SCHEMA.to_string(),
        kernel: host.release.clone(),
        command: command.to_vec(),
        maps: Vec::new(),
        btfs: Vec::new(),
        programs: Vec::new(),
    });
    let types = Types { vmlinux: host.btf(), modules: host.modules() };
    let mut open: HashMap<i32, Attr> = HashMap::new();
    let status = ptrace::run(command, |stop| match stop {
        Stop::Entry { tid, nr, args } if nr == libc::SYS_bpf as u64 => {
            open.insert(tid, Attr::read(tid, args));
        }
        Stop::Entry { .. } => {}
        Stop::Exit { tid, result } => {
            if let Some(attr) = open.remove(&tid) {
                noted.call(&attr, result, &types);
            }
        }
    });
    let status = status.map_err(|e| KernelError::Program(format!("{}: {e}", command.join(" "))))?;
    Ok((noted.plan, status))
}

/// The running kernel's types, by which ids get names.
pub(crate) struct Types<'h> {
    pub vmlinux: &'h Arc<Btf>,
    pub modules: &'h [(String, Arc<Btf>)],
}
