//! Whether an action is allowed.  Checks interleave with changes in the kernel's
//! order, because the order shows in verdicts and logs.

pub mod atomic;
pub mod btf_info;
pub mod btf_record;
pub mod call;
pub mod callinfo;
pub mod ctx;
pub mod exit;
pub mod map_use;
pub mod mem;
pub mod reg_arg;
pub mod refs;
pub mod stack;
pub mod summary;

/// Read or write (`enum bpf_access_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
}
