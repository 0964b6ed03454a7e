//! The kernel's own test programs (`tools/testing/selftests/bpf`), from a tree the person supplies.
//!
//! [`annotations`] reads what a program's BTF says is expected of it, [`pattern`] matches expected messages.
//! No text of the kernel's tree is in here; the names of the tags are the interface (`progs/bpf_misc.h`, 6.18).

pub mod annotations;
pub mod pattern;
