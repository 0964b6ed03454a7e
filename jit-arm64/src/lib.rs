//! The arm64 backend: [`enc`] knows encodings, `masm` makes [`bpfassay_jit::Target`] of them.
//!
//! Emits on any host.  Knows nothing of ELF, the verifier, executable memory, or
//! what machine this is: what the processor has is an argument ([`Config`]).  Does the
//! work of arch/arm64/net/bpf_jit_comp.c.

pub mod enc;
mod masm;
mod regs;
mod target;

use bpfassay_jit::{CodeBuf, Compiled, Glue, JitError, Options, Resolve, Source};

pub use masm::{Arm64, Config};

/// Compiles a program to A64.
///
/// # Errors
///
/// What does not decode, names a register beyond r10, jumps out of the program, or
/// needs an address `resolve` does not have.
pub fn compile(
    source: &Source<'_>,
    options: &Options,
    lse: bool,
    resolve: &mut dyn Resolve,
) -> Result<Compiled, JitError> {
    let config = Config { context: options.context, lse };
    bpfassay_jit::compile(source, options, resolve, |buf| Arm64::new(buf, config)).map(|(c, _)| c)
}

/// Code that all programs of a run context share.
///
/// # Errors
///
/// None that happens: the code has one size.
pub fn glue(context: u64) -> Result<Glue, JitError> {
    let config = Config { context, lse: false };
    Arm64::new(CodeBuf::new(0, 512), config).glue().ok_or(JitError::TooLarge)
}
