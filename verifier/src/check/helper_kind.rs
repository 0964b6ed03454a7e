//! What the verifier knows about single helpers beyond their prototypes
//! (`is_acquire_function` and its neighbours in `kernel/bpf/verifier.c`).

use bpfassay_object::model::MapDef;
use bpfassay_spec::{func, MapType};

use crate::env::Env;

/// Returns a reference that must be released (`is_acquire_function`).
pub fn is_acquire(func_id: i32, map: Option<MapType>) -> bool {
    match func_id {
        func::SK_LOOKUP_TCP
        | func::SK_LOOKUP_UDP
        | func::SKC_LOOKUP_TCP
        | func::RINGBUF_RESERVE
        | func::KPTR_XCHG => true,
        func::MAP_LOOKUP_ELEM => matches!(map, Some(MapType::Sockmap | MapType::Sockhash)),
        _ => false,
    }
}

/// Returns its argument under another type, held by the same reference (`is_ptr_cast_function`).
pub fn is_ptr_cast(func_id: i32) -> bool {
    matches!(
        func_id,
        func::TCP_SOCK
            | func::SK_FULLSOCK
            | func::SKC_TO_TCP_SOCK
            | func::SKC_TO_TCP6_SOCK
            | func::SKC_TO_UDP6_SOCK
            | func::SKC_TO_MPTCP_SOCK
            | func::SKC_TO_TCP_TIMEWAIT_SOCK
            | func::SKC_TO_TCP_REQUEST_SOCK
    )
}

/// Returns memory of a dynptr (`is_dynptr_ref_function`).
pub fn is_dynptr_ref(func_id: i32) -> bool {
    func_id == func::DYNPTR_DATA
}

/// More than one source for the result's reference (`helper_multiple_ref_obj_use`).
pub fn has_multiple_ref_uses(func_id: i32, map: Option<MapType>) -> bool {
    is_ptr_cast(func_id) as u32 + is_acquire(func_id, map) as u32 + is_dynptr_ref(func_id) as u32
        > 1
}

/// Runs a subprogram before it returns.
pub fn is_sync_callback_calling(func_id: i32) -> bool {
    matches!(
        func_id,
        func::FOR_EACH_MAP_ELEM | func::FIND_VMA | func::LOOP | func::USER_RINGBUF_DRAIN
    )
}

/// Has a subprogram run later, on its own.
pub fn is_async_callback_calling(func_id: i32) -> bool {
    func_id == func::TIMER_SET_CALLBACK
}

/// Allocates local storage: in atomic context with other flags (`is_storage_get_function`).
pub fn is_storage_get(func_id: i32) -> bool {
    matches!(
        func_id,
        func::SK_STORAGE_GET
            | func::INODE_STORAGE_GET
            | func::TASK_STORAGE_GET
            | func::CGRP_STORAGE_GET
    )
}

/// Remembers its map at the call site (`record_func_map`).
pub fn records_map(func_id: i32) -> bool {
    matches!(
        func_id,
        func::TAIL_CALL
            | func::MAP_LOOKUP_ELEM
            | func::MAP_UPDATE_ELEM
            | func::MAP_DELETE_ELEM
            | func::MAP_PUSH_ELEM
            | func::MAP_POP_ELEM
            | func::MAP_PEEK_ELEM
            | func::FOR_EACH_MAP_ELEM
            | func::REDIRECT_MAP
            | func::MAP_LOOKUP_PERCPU_ELEM
    )
}

/// Changes map contents: forbidden on maps that are read-only to programs.
pub fn writes_map(func_id: i32) -> bool {
    matches!(
        func_id,
        func::MAP_DELETE_ELEM | func::MAP_UPDATE_ELEM | func::MAP_PUSH_ELEM | func::MAP_POP_ELEM
    )
}

/// Returns at most the size it was given, or a negative error.
pub fn returns_up_to_size(func_id: i32) -> bool {
    matches!(
        func_id,
        func::GET_STACK
            | func::GET_TASK_STACK
            | func::PROBE_READ_STR
            | func::PROBE_READ_KERNEL_STR
            | func::PROBE_READ_USER_STR
    )
}

/// Maps whose lookup cannot fail for a key within bounds (`can_elide_value_nullness`).
///
/// An inner array made with `BPF_F_INNER_MAP` may be shorter than the template that the key is compared with.
pub fn can_elide_value_nullness(env: &Env<'_>, map: &MapDef) -> bool {
    let may_be_shorter = map.map_flags & MapDef::F_INNER_MAP != 0;
    let is_array = matches!(map.map_type, MapType::Array | MapType::PercpuArray);
    is_array && !(may_be_shorter && env.kernel.features.inner_array_may_be_shorter)
}
