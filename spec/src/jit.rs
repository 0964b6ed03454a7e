//! What the kernel's JIT can do, where nobody measured it: by processor, release and configuration.

use crate::generated::jit::{ABILITIES, INLINED, INLINES, NAMES};
use crate::kernel::Config;
use crate::release::{Release, Span};

pub use crate::generated::jit::Jit;

/// Where and when a JIT has an ability.
#[derive(Debug)]
pub(crate) struct When {
    /// `uname -m`.
    pub arch: &'static str,
    pub span: Span,
    /// A symbol that must be built in.
    pub config: Option<&'static str>,
}

/// Names of the abilities, in the order of [`Jit::flags_mut`].
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

impl Jit {
    /// The JIT of this release on this processor (`uname -m`), built with this configuration and switched on as the
    /// configuration has it by default (`BPF_JIT_DEFAULT_ON`, `BPF_JIT_ALWAYS_ON`).
    pub fn of_release(at: Release, arch: &str, config: &Config) -> Jit {
        let has = |list: &[When]| {
            list.iter().any(|w| {
                w.arch == arch && w.span.holds(at) && w.config.is_none_or(|c| config.has(c))
            })
        };
        let mut jit = Jit {
            enabled: config.has("BPF_JIT_DEFAULT_ON") || config.has("BPF_JIT_ALWAYS_ON"),
            ..Jit::default()
        };
        for (flag, list) in jit.flags_mut().into_iter().zip(ABILITIES) {
            *flag = has(list);
        }
        let inlined = INLINED.iter().zip(INLINES).filter(|(_, list)| has(list));
        jit.inlines = inlined.map(|(name, _)| (*name).to_string()).collect();
        jit
    }
}
