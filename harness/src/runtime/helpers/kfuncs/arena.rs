//! Pages of an arena.

use super::super::{number, Call, Helper};
use crate::runtime::arena::Arena;
use crate::runtime::maps::errno::EINVAL;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_arena_alloc_pages", alloc),
    ("bpf_arena_free_pages", free),
    ("bpf_arena_reserve_pages", reserve),
];

/// The arena of this map: a program has one at most.
fn arena<'c>(c: &'c mut Call<'_>, map: u64) -> Result<Option<&'c mut Arena>, Stop> {
    let m = c.map(map)?;
    let is_arena = c.rt.maps.get(m).is_some_and(|m| m.is_arena());
    Ok(c.rt.mem.arena.as_mut().filter(|_| is_arena))
}

fn alloc(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let count = a[2] as u32;
    Ok(match arena(c, a[0])? {
        Some(arena) if a[4] == 0 && count != 0 => arena.allocate(a[1], count),
        _ => 0,
    })
}

fn free(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let count = a[2] as u32;
    if let Some(arena) = arena(c, a[0])?.filter(|_| count != 0 && a[1] != 0) {
        arena.release(a[1], count);
    }
    Ok(0)
}

fn reserve(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let count = a[2] as u32;
    number(match arena(c, a[0])? {
        None => -EINVAL,
        Some(_) if count == 0 => 0,
        Some(arena) => arena.reserve(a[1], count),
    })
}
