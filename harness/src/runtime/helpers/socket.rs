//! Sockets and storage attached to objects (net/core/filter.c, net/core/bpf_sk_storage.c,
//! kernel/bpf/bpf_local_storage.c, kernel/bpf/cgroup.c).
//!
//! The world has one socket, the one a test run gives its packet: whole, closed, of no protocol.

use super::{number, Call, Helper};
use crate::runtime::maps::errno::{EINVAL, ENOENT};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_sk_fullsock", fullsock),
    ("bpf_tcp_sock", nothing),
    ("bpf_get_listener_sock", nothing),
    ("bpf_skc_to_tcp_sock", nothing),
    ("bpf_skc_to_tcp6_sock", nothing),
    ("bpf_skc_to_tcp_timewait_sock", nothing),
    ("bpf_skc_to_tcp_request_sock", nothing),
    ("bpf_skc_to_udp6_sock", nothing),
    ("bpf_sk_release", nothing),
    ("bpf_get_socket_cookie", cookie),
    ("bpf_get_socket_uid", nothing),
    ("bpf_get_netns_cookie", netns_cookie),
    ("bpf_sk_assign", assign),
    ("bpf_get_local_storage", cgroup_storage),
    ("bpf_sk_storage_get", storage_get),
    ("bpf_sk_storage_delete", storage_delete),
    ("bpf_task_storage_get", storage_get),
    ("bpf_task_storage_delete", storage_delete),
    ("bpf_inode_storage_get", storage_get),
    ("bpf_inode_storage_delete", storage_delete),
    ("bpf_cgrp_storage_get", storage_get),
    ("bpf_cgrp_storage_delete", storage_delete),
];

fn fullsock(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(a[0])
}

fn nothing(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(0)
}

fn cookie(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    c.rt.world.consulted = true;
    Ok(1)
}

fn netns_cookie(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    c.rt.world.consulted = true;
    Ok(1)
}

/// Only forgetting a choice is possible where no socket can be looked up.
fn assign(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `BPF_SK_LOOKUP_F_REPLACE | BPF_SK_LOOKUP_F_NO_REUSEPORT`.
    const FLAGS: u64 = 3;
    if a[1] != 0 {
        return Err(crate::engine::TrapKind::Unsupported("choosing a socket").into());
    }
    let is_lookup = c.rt.packet.is_none();
    number(if !is_lookup || a[2] & !FLAGS != 0 { -EINVAL } else { 0 })
}

/// The value that belongs to the program's cgroup, of which there is one.
fn cgroup_storage(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    storage(c, a[0], 0, true)
}

/// The value attached to an object; 0 where there is none.
fn storage(c: &mut Call<'_>, map: u64, owner: u64, create: bool) -> Result<u64, Stop> {
    let m = c.map(map)?;
    let rt = &mut *c.rt;
    match rt.maps.get_mut(m).map(|map| map.attached(&mut rt.mem, owner, create)) {
        Some(value) => Ok(value?.unwrap_or(0)),
        None => Ok(0),
    }
}

fn storage_get(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
    const CREATE: u64 = 1;
    let [map, owner, first, flags, _] = a;
    if owner == 0 || flags & !CREATE != 0 {
        return Ok(0);
    }
    let found = storage(c, map, owner, false)?;
    if found != 0 || flags == 0 {
        return Ok(found);
    }
    let made = storage(c, map, owner, true)?;
    if first != 0 && made != 0 {
        let m = c.map(map)?;
        let value = c.bytes(first, c.sizes(m)?.1)?;
        let mut to = c.bytes(made, value.len() as u32)?;
        if let Some(map) = c.rt.maps.get(m) {
            map.shape().copy_value(&mut to, &value);
        }
        c.put(made, &to)?;
    }
    Ok(made)
}

fn storage_delete(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    if a[1] == 0 {
        return number(-EINVAL);
    }
    let value = storage(c, a[0], a[1], false)?;
    if value == 0 {
        return number(-ENOENT);
    }
    let fields = c.rt.maps.get(m).map_or(Vec::new(), |m| m.shape().special.clone());
    c.rt.free_fields(value, &fields)?;
    let rt = &mut *c.rt;
    if let Some(map) = rt.maps.get_mut(m) {
        map.detach(&mut rt.mem, a[1]);
    }
    Ok(0)
}
