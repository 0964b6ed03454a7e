//! Loading with fewer capabilities than root's.

use std::fs;

use bpfassay_spec::Caps;

use super::{sys, KernelError};

/// Capabilities that loading asks for (`include/uapi/linux/capability.h`).
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// This thread without some capabilities, until it is dropped.
pub struct Dropped(Option<u64>);

impl Dropped {
    /// Leaves the thread those of `caps` that it has.
    pub fn to(caps: Caps) -> Result<Dropped, KernelError> {
        if caps == Caps::ALL {
            return Ok(Dropped(None));
        }
        let failed = |errno| KernelError::Call { what: "capset", errno };
        let had = sys::effective_caps().map_err(failed)?;
        let kept = [
            (caps.net_admin, NET_ADMIN),
            (caps.sys_admin, SYS_ADMIN),
            (caps.perfmon, PERFMON),
            (caps.bpf, BPF),
        ];
        let lost = kept.iter().filter(|(keeps, _)| !keeps).fold(0, |bits, (_, bit)| bits | bit);
        sys::set_effective_caps(had & !lost).map_err(failed)?;
        Ok(Dropped(Some(had)))
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(had) = self.0 {
            // What a thread had it may have again.
            let _ = sys::set_effective_caps(had);
        }
    }
}

/// Whether whoever has no CAP_BPF may load at all; the error says why not.
pub fn allows(caps: Caps) -> Result<(), KernelError> {
    const SWITCH: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
    let value = fs::read_to_string(SWITCH).unwrap_or_default();
    match value.trim() {
        _ if caps.bpf => Ok(()),
        "0" => Ok(()),
        other => Err(KernelError::Program(format!(
            "kernel.unprivileged_bpf_disabled is {other} here: nobody loads without CAP_BPF"
        ))),
    }
}
