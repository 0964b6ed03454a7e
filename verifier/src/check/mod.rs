//! Whether an action is allowed.  Checks interleave with changes in the kernel's
//! order, because the order shows in verdicts and logs.

pub mod align;
pub mod arg_types;
pub mod args;
pub mod atomic;
pub mod bprintf;
pub mod btf_access;
pub mod btf_ctx;
pub mod btf_fields;
pub mod btf_info;
pub mod btf_record;
pub mod btf_walk;
pub mod btf_write;
pub mod call;
pub mod callback;
pub mod callinfo;
pub mod const_arg;
pub mod ctx;
pub mod dynptr;
pub mod exit;
pub mod func_args;
pub mod func_call;
pub mod graph;
pub mod helper;
pub mod helper_result;
pub mod helper_rules;
pub mod indirect_jump;
pub mod irq;
pub mod iter;
pub mod kfunc;
pub mod kfunc_arg;
pub mod kfunc_args;
mod kfunc_btf_arg;
pub mod kfunc_call;
mod kfunc_objects;
pub mod kfunc_result;
mod kfunc_sizes;
pub mod kptr;
pub mod kptr_access;
pub mod locks;
pub mod map_compat;
pub mod map_field;
pub mod map_fields;
pub mod map_use;
pub mod map_value;
pub mod mem;
pub mod mem_arg;
pub mod packet;
mod plain_dynptr;
pub mod plain_func_args;
mod plain_kfunc_args;
pub mod prog_ctx;
pub mod refs;
pub mod reg_arg;
pub mod region;
pub mod sock;
pub mod stack;
mod stack_barrier;
mod stack_bounds;
pub mod stack_obj;
pub mod stack_range;
mod stack_read;
pub mod summary;
pub mod trust;

/// Read or write (`enum bpf_access_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
}
