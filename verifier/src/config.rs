//! What a verdict depends on beside the program.

use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_spec::{Caps, Kernel};

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
    /// Capabilities of the loading process.
    pub caps: Caps,
}

impl<'a> Config<'a> {
    /// Without BTF; quiet, no limit to the log, all capabilities.
    pub fn new(kernel: &'a Kernel) -> Config<'a> {
        Config {
            kernel,
            vmlinux: None,
            modules: Vec::new(),
            log_level: LogLevel::default(),
            log_limit: 0,
            caps: Caps::ALL,
        }
    }
}
