//! Running what the JITs wrote, on the processor it is for.
//!
//! [`exec`] maps code, [`fault`] catches accesses that fail, [`machine`] enters code and answers its calls.
//! What is compiled here is trusted as far as the verifier trusts it; everything
//! else belongs into a process of its own.

pub mod emit;
pub mod exec;
pub mod fault;
pub mod machine;
pub mod private_stack;

use bpfassay_jit::{Compiled, Glue, JitError, Options, Resolve, Source};

/// True where code can be run: there is a backend for this processor and memory for its code.
pub const IS_AVAILABLE: bool = cfg!(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    any(unix, windows),
    target_pointer_width = "64"
));

/// Name of the engine that is this host's.
pub const ENGINE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86" };

/// What this processor has beyond the base set.
#[cfg(target_arch = "x86_64")]
pub fn host_features() -> bpfassay_jit_x86::Features {
    bpfassay_jit_x86::Features {
        bmi2: std::arch::is_x86_feature_detected!("bmi2"),
        movbe: std::arch::is_x86_feature_detected!("movbe"),
        convention: if cfg!(windows) {
            bpfassay_jit::abi::Convention::Windows
        } else {
            bpfassay_jit::abi::Convention::SysV
        },
    }
}

/// True where this processor has single-instruction atomics.
#[cfg(target_arch = "aarch64")]
pub fn host_has_lse() -> bool {
    std::arch::is_aarch64_feature_detected!("lse")
}

/// Compiles for this processor.
pub fn compile(
    source: &Source<'_>,
    options: &Options,
    resolve: &mut dyn Resolve,
) -> Result<Compiled, JitError> {
    #[cfg(target_arch = "x86_64")]
    return bpfassay_jit_x86::compile(source, options, host_features(), resolve);
    #[cfg(target_arch = "aarch64")]
    return bpfassay_jit_arm64::compile(source, options, host_has_lse(), resolve);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (source, options, resolve);
        Err(JitError::Wide { slot: 0, why: "no backend for this processor" })
    }
}

/// Code that the programs of a run context share, for this processor.
pub fn glue(context: u64) -> Result<Glue, JitError> {
    #[cfg(target_arch = "x86_64")]
    return bpfassay_jit_x86::glue(context, host_features());
    #[cfg(target_arch = "aarch64")]
    return bpfassay_jit_arm64::glue(context);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        Err(JitError::Wide { slot: 0, why: "no backend for this processor" })
    }
}
