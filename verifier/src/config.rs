//! What a verdict depends on beside the program.

use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_spec::Kernel;

use crate::log::LogLevel;

/// Everything but the program.  Same program and config, same report, on every host.
#[derive(Clone)]
pub struct Config<'a> {
    /// Features, limits, helper tables and profile of the kernel asked for.
    pub kernel: &'a Kernel,
    /// The kernel's own BTF, if the profile has it.
    pub vmlinux: Option<Arc<Btf>>,
    /// Split BTFs of modules, by name.
    pub modules: Vec<(String, Arc<Btf>)>,
    pub log_level: LogLevel,
    /// Most bytes of log kept; 0 for no limit.
    pub log_limit: usize,
    /// Capabilities of the loader.
    pub caps: Capabilities,
}

/// What the loading process may do (`bpf_capable`, `perfmon_capable`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    pub bpf: bool,
    pub perfmon: bool,
    pub net_admin: bool,
    pub sys_admin: bool,
}

impl Capabilities {
    /// What root has.
    pub const ALL: Capabilities =
        Capabilities { bpf: true, perfmon: true, net_admin: true, sys_admin: true };
}
