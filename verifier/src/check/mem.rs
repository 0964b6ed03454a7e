//! Memory access by register type (`check_mem_access`, `check_helper_mem_access`).

use bpfassay_isa::{Reg, Size};

use super::callinfo::CallMeta;
use super::Access;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// One load or store of `size` bytes at `reg + off`.
///
/// `value` is the register read into or stored from; None for a store of an immediate
/// (`value_regno` -1).  `strict_alignment_once` forces alignment (atomics, LDX with packet rules).
pub fn check_mem_access(
    _env: &mut Env<'_>,
    _insn_idx: u32,
    _reg: Reg,
    _off: i32,
    _size: Size,
    _access: Access,
    _value: Option<Reg>,
    _strict_alignment_once: bool,
    _is_ldsx: bool,
) -> Check {
    Err(Stop::unsupported("memory access"))
}

/// The LDX at `env.insn_idx` (`check_load_mem`), plain or sign-extending.
pub fn check_load_mem(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("loads"))
}

/// The ST or STX at `env.insn_idx` (`check_store_reg` and the BPF_ST arm of `do_check`).
pub fn check_store(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("stores"))
}

/// The LD_ABS or LD_IND at `env.insn_idx` (`check_ld_abs`).
pub fn check_ld_abs(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("LD_ABS"))
}

/// Memory of `access_size` bytes handed to a helper or kfunc.
pub fn check_helper_mem_access(
    _env: &mut Env<'_>,
    _reg: Reg,
    _access_size: i32,
    _access: Access,
    _zero_size_allowed: bool,
    _meta: Option<&mut CallMeta>,
) -> Check {
    Err(Stop::unsupported("memory arguments"))
}

/// A size argument and the memory argument before it (`check_mem_size_reg`).
pub fn check_mem_size_reg(
    _env: &mut Env<'_>,
    _reg: Reg,
    _access: Access,
    _zero_size_allowed: bool,
    _meta: &mut CallMeta,
) -> Check {
    Err(Stop::unsupported("size arguments"))
}

/// A pointer argument of fixed size (`check_mem_reg`).
pub fn check_mem_reg(_env: &mut Env<'_>, _reg: Reg, _mem_size: u32) -> Check {
    Err(Stop::unsupported("memory arguments"))
}

pub use super::reg_arg::{check_reg_arg, RegArg};
