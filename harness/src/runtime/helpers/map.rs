//! Map access, callbacks over maps, loops and tail calls (kernel/bpf/helpers.c, bpf_iter.c).

use super::{number, Call, Helper};
use crate::engine::TrapKind;
use crate::runtime::maps::errno::{E2BIG, EINVAL};
use crate::runtime::maps::{Found, Unmodelled};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_map_lookup_elem", lookup),
    ("bpf_map_lookup_percpu_elem", lookup_percpu),
    ("bpf_map_update_elem", update),
    ("bpf_map_delete_elem", delete),
    ("bpf_map_push_elem", push),
    ("bpf_map_pop_elem", pop),
    ("bpf_map_peek_elem", peek),
    ("bpf_for_each_map_elem", for_each),
    ("bpf_loop", bpf_loop),
    ("bpf_tail_call", tail_call),
    ("bpf_spin_lock", nothing),
    ("bpf_spin_unlock", nothing),
];

/// `BPF_MAX_LOOPS`.
const MAX_LOOPS: u32 = bpfassay_spec::Limits::MOST.max_loops;

impl From<Unmodelled> for Stop {
    fn from(_: Unmodelled) -> Stop {
        TrapKind::Unsupported("this operation on this map type").into()
    }
}

fn lookup(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let cpu = c.rt.world.cpu;
    lookup_on(c, a[0], a[1], cpu)
}

fn lookup_percpu(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let cpu = a[2] as u32;
    if cpu >= c.rt.world.cpus {
        return Ok(0);
    }
    lookup_on(c, a[0], a[1], cpu)
}

fn lookup_on(c: &mut Call<'_>, map: u64, key: u64, cpu: u32) -> Result<u64, Stop> {
    let m = c.map(map)?;
    let key = c.bytes(key, c.sizes(m)?.0)?;
    let rt = &mut *c.rt;
    let Some(map) = rt.maps.get_mut(m) else { return Ok(0) };
    Ok(match map.lookup(&rt.mem, &key, cpu)? {
        Found::Nothing => 0,
        Found::Value(addr) => addr,
        Found::Map(i) => rt.maps.get(i as usize).map_or(0, |m| rt.mem.addr(m.handle(), 0)),
    })
}

fn update(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let (key_size, value_size) = c.sizes(m)?;
    let key = c.bytes(a[1], key_size)?;
    let value = c.bytes(a[2], value_size)?;
    let old = owner(c, m, &key);
    let rt = &mut *c.rt;
    let Some(map) = rt.maps.get_mut(m) else { return number(-EINVAL) };
    let result = map.update(&mut rt.mem, &key, &value, a[3], rt.world.cpu)?;
    free_value(c, m, old.filter(|_| result == 0))?;
    number(result)
}

fn delete(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let key = c.bytes(a[1], c.sizes(m)?.0)?;
    let old = owner(c, m, &key);
    let Some(map) = c.rt.maps.get_mut(m) else { return number(-EINVAL) };
    let result = map.delete(&key)?;
    free_value(c, m, old.filter(|_| result == 0))?;
    number(result)
}

/// The value of this key, where it can own something.
fn owner(c: &Call<'_>, map: usize, key: &[u8]) -> Option<u64> {
    let map = c.rt.maps.get(map)?;
    if map.shape().special.is_empty() {
        return None;
    }
    map.value_of(&c.rt.mem, key, c.rt.world.cpu)
}

/// Frees what a value that was replaced or deleted owned.
fn free_value(c: &mut Call<'_>, map: usize, value: Option<u64>) -> Result<(), Stop> {
    let Some(value) = value else { return Ok(()) };
    let fields = c.rt.maps.get(map).map_or(Vec::new(), |m| m.shape().special.clone());
    c.rt.free_fields(value, &fields)
}

fn push(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let value = c.bytes(a[1], c.sizes(m)?.1)?;
    let Some(map) = c.rt.maps.get_mut(m) else { return number(-EINVAL) };
    number(map.push(&value, a[2])?)
}

fn pop(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    take(c, a, false)
}

fn peek(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    take(c, a, true)
}

fn take(c: &mut Call<'_>, a: [u64; 5], keep: bool) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let size = c.sizes(m)?.1;
    let rt = &mut *c.rt;
    let Some(map) = rt.maps.get_mut(m) else { return number(-EINVAL) };
    let out = rt.mem.slice_mut(a[1], size)?;
    number(map.pop(out, keep)?)
}

/// Calls `callback(map, key, value, ctx)` for every element until it returns 1; gives the number of calls.
fn for_each(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[3] != 0 {
        return number(-EINVAL);
    }
    let m = c.map(a[0])?;
    let cpu = c.rt.world.cpu;
    let entries = c.rt.maps.get(m).map_or(Vec::new(), |map| map.entries(&c.rt.mem, cpu));
    let mut calls = 0;
    for (key, value) in entries {
        let key_at = c.rt.lend(&key)?;
        calls += 1;
        let more = c.callbacks.invoke(c.rt, a[1], [a[0], key_at, value, a[2], 0]);
        c.rt.take_back(key_at);
        if more? != 0 {
            break;
        }
    }
    Ok(calls)
}

/// Calls `callback(i, ctx)` until it returns 1; gives the number of calls.
fn bpf_loop(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let count = a[0] as u32;
    if a[3] != 0 {
        return number(-EINVAL);
    }
    if count > MAX_LOOPS {
        return number(-E2BIG);
    }
    for i in 0..count {
        if c.callbacks.invoke(c.rt, a[1], [i as u64, a[2], 0, 0, 0])? != 0 {
            return Ok(i as u64 + 1);
        }
    }
    Ok(count as u64)
}

/// Does not return where the array has a program at the index; the engine counts.
fn tail_call(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[1])?;
    let Some(map) = c.rt.maps.get(m).filter(|m| m.is_prog_array()) else {
        return Err(c.bad("not a prog array"));
    };
    match map.program(a[2] as u32) {
        Some(code) => Err(Stop::TailCall(code.clone())),
        None => Ok(0),
    }
}

/// A lock is free on the only CPU there is.
fn nothing(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(0)
}
