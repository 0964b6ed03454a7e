//! Which helper may be called with which map (`check_map_func_compatibility`).

use bpfassay_spec::helper::func_id_name;
use bpfassay_spec::{func, AttachType, MapType, ProgType};

use crate::domain::reg::MapId;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

const RINGBUF: &[i32] = &[
    func::RINGBUF_OUTPUT,
    func::RINGBUF_RESERVE,
    func::RINGBUF_QUERY,
    func::RINGBUF_RESERVE_DYNPTR,
    func::RINGBUF_SUBMIT_DYNPTR,
    func::RINGBUF_DISCARD_DYNPTR,
];
const PERF_EVENT: &[i32] = &[
    func::PERF_EVENT_READ,
    func::PERF_EVENT_OUTPUT,
    func::SKB_OUTPUT,
    func::PERF_EVENT_READ_VALUE,
    func::XDP_OUTPUT,
];
const QUEUE: &[i32] = &[func::MAP_PEEK_ELEM, func::MAP_POP_ELEM, func::MAP_PUSH_ELEM];
const REDIRECT_OR_LOOKUP: &[i32] = &[func::REDIRECT_MAP, func::MAP_LOOKUP_ELEM];

/// Map types that only the listed helpers take; other types take any.
const HELPERS_OF_MAP: &[(MapType, &[i32])] = &[
    (MapType::ProgArray, &[func::TAIL_CALL]),
    (MapType::PerfEventArray, PERF_EVENT),
    (MapType::Ringbuf, RINGBUF),
    (MapType::UserRingbuf, &[func::USER_RINGBUF_DRAIN]),
    (MapType::StackTrace, &[func::GET_STACKID]),
    (MapType::CgroupArray, &[func::SKB_UNDER_CGROUP, func::CURRENT_TASK_UNDER_CGROUP]),
    (MapType::CgroupStorage, &[func::GET_LOCAL_STORAGE]),
    (MapType::PercpuCgroupStorage, &[func::GET_LOCAL_STORAGE]),
    (MapType::Devmap, REDIRECT_OR_LOOKUP),
    (MapType::DevmapHash, REDIRECT_OR_LOOKUP),
    (MapType::Cpumap, &[func::REDIRECT_MAP]),
    (MapType::Xskmap, REDIRECT_OR_LOOKUP),
    (MapType::ArrayOfMaps, &[func::MAP_LOOKUP_ELEM]),
    (MapType::HashOfMaps, &[func::MAP_LOOKUP_ELEM]),
    (
        MapType::Sockmap,
        &[
            func::SK_REDIRECT_MAP,
            func::SOCK_MAP_UPDATE,
            func::MSG_REDIRECT_MAP,
            func::SK_SELECT_REUSEPORT,
            func::MAP_LOOKUP_ELEM,
        ],
    ),
    (
        MapType::Sockhash,
        &[
            func::SK_REDIRECT_HASH,
            func::SOCK_HASH_UPDATE,
            func::MSG_REDIRECT_HASH,
            func::SK_SELECT_REUSEPORT,
            func::MAP_LOOKUP_ELEM,
        ],
    ),
    (MapType::ReuseportSockarray, &[func::SK_SELECT_REUSEPORT]),
    (MapType::Queue, QUEUE),
    (MapType::Stack, QUEUE),
    (MapType::SkStorage, &[func::SK_STORAGE_GET, func::SK_STORAGE_DELETE, func::KPTR_XCHG]),
    (
        MapType::InodeStorage,
        &[func::INODE_STORAGE_GET, func::INODE_STORAGE_DELETE, func::KPTR_XCHG],
    ),
    (MapType::TaskStorage, &[func::TASK_STORAGE_GET, func::TASK_STORAGE_DELETE, func::KPTR_XCHG]),
    (MapType::CgrpStorage, &[func::CGRP_STORAGE_GET, func::CGRP_STORAGE_DELETE, func::KPTR_XCHG]),
    (MapType::BloomFilter, &[func::MAP_PEEK_ELEM, func::MAP_PUSH_ELEM]),
];

const QUEUE_STACK_BLOOM: &[MapType] = &[MapType::Queue, MapType::Stack, MapType::BloomFilter];
const CGROUP_STORAGES: &[MapType] = &[MapType::CgroupStorage, MapType::PercpuCgroupStorage];

/// Helpers that only take the listed map types; other helpers take any.
const MAPS_OF_HELPERS: &[(&[i32], &[MapType])] = &[
    (&[func::TAIL_CALL], &[MapType::ProgArray]),
    (PERF_EVENT, &[MapType::PerfEventArray]),
    (RINGBUF, &[MapType::Ringbuf]),
    (&[func::USER_RINGBUF_DRAIN], &[MapType::UserRingbuf]),
    (&[func::GET_STACKID], &[MapType::StackTrace]),
    (&[func::CURRENT_TASK_UNDER_CGROUP, func::SKB_UNDER_CGROUP], &[MapType::CgroupArray]),
    (
        &[func::REDIRECT_MAP],
        &[MapType::Devmap, MapType::DevmapHash, MapType::Cpumap, MapType::Xskmap],
    ),
    (&[func::SK_REDIRECT_MAP, func::MSG_REDIRECT_MAP, func::SOCK_MAP_UPDATE], &[MapType::Sockmap]),
    (
        &[func::SK_REDIRECT_HASH, func::MSG_REDIRECT_HASH, func::SOCK_HASH_UPDATE],
        &[MapType::Sockhash],
    ),
    (&[func::GET_LOCAL_STORAGE], CGROUP_STORAGES),
    (
        &[func::SK_SELECT_REUSEPORT],
        &[MapType::ReuseportSockarray, MapType::Sockmap, MapType::Sockhash],
    ),
    (&[func::MAP_POP_ELEM], &[MapType::Queue, MapType::Stack]),
    (&[func::MAP_PEEK_ELEM, func::MAP_PUSH_ELEM], QUEUE_STACK_BLOOM),
    (
        &[func::MAP_LOOKUP_PERCPU_ELEM],
        &[MapType::PercpuArray, MapType::PercpuHash, MapType::LruPercpuHash],
    ),
    (&[func::SK_STORAGE_GET, func::SK_STORAGE_DELETE], &[MapType::SkStorage]),
    (&[func::INODE_STORAGE_GET, func::INODE_STORAGE_DELETE], &[MapType::InodeStorage]),
    (&[func::TASK_STORAGE_GET, func::TASK_STORAGE_DELETE], &[MapType::TaskStorage]),
    (&[func::CGRP_STORAGE_GET, func::CGRP_STORAGE_DELETE], &[MapType::CgrpStorage]),
];

/// Both views must agree: the map's, then the helper's.
pub fn check_map_func_compatibility(env: &mut Env<'_>, map: Option<MapId>, func_id: i32) -> Check {
    let Some(map) = map else { return Ok(()) };
    let map_type = env.map(map).def.map_type;
    if !map_takes_helper(env, map_type, func_id) || !helper_takes_map(func_id, map_type) {
        let name = func_id_name(func_id);
        verbose!(env, "cannot pass map_type {} into func {name}#{func_id}\n", map_type.number());
        return Err(Errno::EINVAL.into());
    }
    if func_id == func::TAIL_CALL && env.subprogs.len() > 1 && !allow_tail_call_in_subprogs(env) {
        verbose!(env, "mixing of tail_calls and bpf-to-bpf calls is not supported\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// A program with tail calls and BPF-to-BPF calls needs a JIT that knows how.
pub fn allow_tail_call_in_subprogs(env: &Env<'_>) -> bool {
    env.kernel.jit.enabled && env.kernel.jit.subprog_tailcalls
}

fn map_takes_helper(env: &mut Env<'_>, map_type: MapType, func_id: i32) -> bool {
    let Some((_, helpers)) = HELPERS_OF_MAP.iter().find(|(t, _)| *t == map_type) else {
        return true;
    };
    helpers.contains(&func_id)
        || matches!(map_type, MapType::Sockmap | MapType::Sockhash)
            && may_update_sockmap(env, func_id)
}

fn helper_takes_map(func_id: i32, map_type: MapType) -> bool {
    MAPS_OF_HELPERS.iter().filter(|(f, _)| f.contains(&func_id)).all(|(_, m)| m.contains(&map_type))
}

/// Contexts in which no locked socket can be at hand (`may_update_sockmap`).
fn may_update_sockmap(env: &mut Env<'_>, func_id: i32) -> bool {
    if func_id != func::MAP_UPDATE_ELEM && func_id != func::MAP_DELETE_ELEM {
        return false;
    }
    let may = match env.prog_type() {
        ProgType::Tracing => env.prog.expected_attach_type == Some(AttachType::TraceIter),
        ProgType::SockOps => func_id == func::MAP_DELETE_ELEM,
        ProgType::SocketFilter
        | ProgType::SchedCls
        | ProgType::SchedAct
        | ProgType::Xdp
        | ProgType::SkReuseport
        | ProgType::FlowDissector
        | ProgType::SkLookup => true,
        _ => false,
    };
    if !may {
        verbose!(env, "cannot update sockmap in this context\n");
    }
    may
}
