//! What BPF_PROG_LOAD refuses before the verifier starts, with an error number and no log
//! (`bpf_prog_load`, `bpf_prog_load_check_attach` of `kernel/bpf/syscall.c`).

use bpfassay_object::model::Program;
use bpfassay_spec::{AttachType, Kernel, ProgInfo, ProgType};

use crate::config::Config;
use crate::stop::{Check, Errno, Stop};

/// The attach type the kernel goes on with: two program types have a default
/// (`bpf_prog_load_fixup_attach_type`).
pub fn effective_attach_type(prog: &Program, kernel: &Kernel) -> Option<AttachType> {
    let row = kernel.prog(prog.prog_type).or_else(|| ProgInfo::of(prog.prog_type));
    row?.effective_attach(prog.expected_attach_type)
}

/// Refuses what the system call refuses.
pub fn check_load(prog: &Program, config: &Config<'_>) -> Check {
    if let Some(what) = prog.missing.first() {
        return Err(Stop::unsupported(what.clone()));
    }
    if let Some((errno, _)) = privilege_refusal(prog, config) {
        return Err(errno.into());
    }
    if prog.insns.is_empty() || prog.insns.len() > max_insns(config) {
        return Err(Errno::E2BIG.into());
    }
    if prog.flags.bits() & !config.kernel.limits.prog_flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    check_attach(prog, config.kernel)?;
    let limited = config.kernel.prog(prog.prog_type).is_some_and(|row| !row.attach.is_empty());
    let number = prog.expected_attach_type.map_or(0, AttachType::number);
    if limited && number >= config.kernel.limits.attach_types {
        return Err(Errno::EINVAL.into());
    }
    // A hardened build says no whatever the program does; its profile says so.
    if let Some(errno) = config.kernel.refusal(prog.prog_type, prog.expected_attach_type) {
        return Err(Errno(errno).into());
    }
    let lacks = config.kernel.prog_type_lacks(prog.prog_type).is_some();
    if lacks || config.kernel.prog(prog.prog_type).is_none() {
        return Err(Errno::EINVAL.into());
    }
    check_name(&prog.name)
}

fn max_insns(config: &Config<'_>) -> usize {
    let limits = &config.kernel.limits;
    (if config.caps.bpf { limits.max_processed_insns } else { limits.max_unpriv_insns }) as usize
}

/// What the loader may not do for want of a capability, and why.
pub fn privilege_refusal(prog: &Program, config: &Config<'_>) -> Option<(Errno, String)> {
    let (caps, kernel) = (config.caps, config.kernel);
    if !caps.bpf && !kernel.unprivileged_bpf {
        let why = "this needs CAP_BPF because kernel.unprivileged_bpf_disabled is not 0";
        return Some((Errno::EPERM, why.to_string()));
    }
    let len = prog.insns.len();
    if !caps.bpf && len > max_insns(config) && len <= kernel.limits.max_processed_insns as usize {
        let most = max_insns(config);
        let why = format!("this needs CAP_BPF because it has {len} instructions, above {most}");
        return Some((Errno::E2BIG, why));
    }
    let row = kernel.prog(prog.prog_type)?;
    let lacking = if !caps.bpf && !row.unprivileged {
        "CAP_BPF"
    } else if row.net_admin && !caps.net_admin {
        "CAP_NET_ADMIN"
    } else if row.perfmon && !caps.perfmon {
        "CAP_PERFMON"
    } else {
        return None;
    };
    let why = format!("this needs {lacking} because its program type is {}", prog.prog_type.name());
    Some((Errno::EPERM, why))
}

/// `bpf_obj_name_cpy`: letters, digits, `_` and `.`, over the 15 bytes that the kernel is given.
fn check_name(name: &str) -> Check {
    let fits = name.bytes().take(15).all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.');
    if fits {
        Ok(())
    } else {
        Err(Errno::EINVAL.into())
    }
}

fn check_attach(prog: &Program, kernel: &Kernel) -> Check {
    let has_btf_id = prog.attach_target.as_ref().is_some_and(|t| t.btf_id != 0);
    let by_btf = ProgInfo::of(prog.prog_type).is_some_and(|row| row.attaches_by_btf);
    if has_btf_id && !by_btf {
        return Err(Errno::EINVAL.into());
    }
    // Functions that are named only when it is attached: no target, and a tracing program.
    let several = matches!(
        prog.expected_attach_type,
        Some(
            AttachType::TraceFentryMulti
                | AttachType::TraceFexitMulti
                | AttachType::TraceFsessionMulti
        )
    );
    let is_known = kernel.limits.attach_types > AttachType::TraceFentryMulti.number();
    if several && is_known && (has_btf_id || prog.prog_type != ProgType::Tracing) {
        return Err(Errno::EINVAL.into());
    }
    if effective_attach_type(prog, kernel).is_none() {
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}
