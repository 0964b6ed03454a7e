//! Programs that attach to a kernel function, hook or struct member (`check_attach_btf_id`,
//! `bpf_check_attach_target`).

use bpfassay_spec::ProgType;

use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Whether the target exists and allows what the program wants of it.
pub fn check_attach_btf_id(env: &mut Env<'_>) -> Check {
    let t = env.prog.prog_type;
    if t == ProgType::Syscall {
        if env.prog_sleepable {
            return Ok(());
        }
        verbose!(env, "Syscall programs can only be sleepable\n");
        return Err(Errno::EINVAL.into());
    }
    if env.prog_sleepable && !can_be_sleepable(env) {
        verbose!(
            env,
            "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable\n"
        );
        return Err(Errno::EINVAL.into());
    }
    match t {
        ProgType::Tracing | ProgType::Lsm | ProgType::StructOps | ProgType::Ext => {
            crate::attach_target::check_attach_target(env)
        }
        _ => Ok(()),
    }
}

/// `can_be_sleepable`.
fn can_be_sleepable(env: &Env<'_>) -> bool {
    use bpfassay_spec::AttachType::*;
    let attach = env.prog.expected_attach_type;
    match env.prog.prog_type {
        ProgType::Tracing => {
            matches!(attach, Some(TraceFentry | TraceFexit | ModifyReturn | TraceIter))
        }
        ProgType::Lsm => attach != Some(LsmCgroup),
        // Kprobe programs may turn out to be uprobes.
        ProgType::Kprobe | ProgType::StructOps => true,
        _ => false,
    }
}
