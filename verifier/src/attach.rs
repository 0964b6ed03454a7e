//! Programs that attach to a kernel function, hook or struct member (`check_attach_btf_id`,
//! `bpf_check_attach_target`).

use bpfassay_spec::prog::Sleepable;

use crate::check::summary::with_prog_kind;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Whether the target exists and allows what the program wants of it.
pub fn check_attach_btf_id(env: &mut Env<'_>) -> Check {
    let t = env.prog.prog_type;
    if !env.is_extension()
        && matches!(env.kernel.prog(t).map(|row| row.sleepable), Some(Sleepable::Must))
    {
        if env.prog_sleepable {
            return Ok(());
        }
        verbose!(env, "Syscall programs can only be sleepable\n");
        return Err(Errno::EINVAL.into());
    }
    let may_sleep =
        !env.is_extension() && with_prog_kind(env, |kind| env.kernel.may_be_sleepable(kind));
    if env.prog_sleepable && !may_sleep {
        verbose!(env, words.prog_not_sleepable);
        return Err(Errno::EINVAL.into());
    }
    if let Some(facts) = env.target_program.clone() {
        return crate::extension::check_attach(env, &facts);
    }
    if env.kernel.prog(t).is_some_and(|row| row.attaches_by_btf) {
        return crate::attach_target::check_attach_target(env);
    }
    Ok(())
}
