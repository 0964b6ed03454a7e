//! CPU masks.  A mask has one bit for each CPU of the world; the rest of its memory is zero.

use super::super::{number, Call, Helper};
use crate::runtime::objects::ObjectKind;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_cpumask_create", create),
    ("bpf_cpumask_acquire", acquire),
    ("bpf_cpumask_release", release),
    ("bpf_cpumask_first", first),
    ("bpf_cpumask_first_zero", first_zero),
    ("bpf_cpumask_first_and", first_and),
    ("bpf_cpumask_set_cpu", set_cpu),
    ("bpf_cpumask_clear_cpu", clear_cpu),
    ("bpf_cpumask_test_cpu", test_cpu),
    ("bpf_cpumask_test_and_set_cpu", set_cpu),
    ("bpf_cpumask_test_and_clear_cpu", clear_cpu),
    ("bpf_cpumask_setall", setall),
    ("bpf_cpumask_clear", clear),
    ("bpf_cpumask_and", and),
    ("bpf_cpumask_or", or),
    ("bpf_cpumask_xor", xor),
    ("bpf_cpumask_equal", equal),
    ("bpf_cpumask_intersects", intersects),
    ("bpf_cpumask_subset", subset),
    ("bpf_cpumask_empty", empty),
    ("bpf_cpumask_full", full),
    ("bpf_cpumask_copy", copy),
    ("bpf_cpumask_any_distribute", any),
    ("bpf_cpumask_any_and_distribute", any_and),
    ("bpf_cpumask_weight", weight),
    ("bpf_cpumask_populate", populate),
];

const EACCES: i64 = 13;

/// Bytes of a mask: one bit for each possible CPU, in words of 8 bytes.
fn width(c: &Call<'_>) -> u32 {
    c.rt.world.cpus.max(1).div_ceil(64) * 8
}

fn get(c: &Call<'_>, at: u64) -> Result<Vec<u8>, Stop> {
    c.bytes(at, width(c))
}

/// What a program may see of the rest of the structure is zero but for the count.
fn create(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let size = c.rt.types.kernel_size("bpf_cpumask").unwrap_or(0).max(width(c) + 8);
    c.rt.allocate(ObjectKind::CpuMask, size)
}

fn acquire(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    match c.rt.objects.find_mut(a[0]) {
        Some((_, o)) => o.refs += 1,
        None => return Err(c.bad("not a CPU mask of the program")),
    }
    Ok(a[0])
}

fn release(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.drop_object(a[0])?;
    Ok(0)
}

fn bit(mask: &[u8], i: u32) -> bool {
    mask.get(i as usize / 8).is_some_and(|b| b >> (i % 8) & 1 != 0)
}

/// The first CPU that `wanted` accepts; the number of CPUs where none is.
fn seek(c: &mut Call<'_>, wanted: impl Fn(u32) -> bool) -> Result<u64, Stop> {
    c.rt.world.consulted = true;
    let cpus = c.rt.world.cpus;
    Ok(u64::from((0..cpus).find(|i| wanted(*i)).unwrap_or(cpus)))
}

fn first(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = get(c, a[0])?;
    seek(c, |i| bit(&m, i))
}

fn first_zero(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = get(c, a[0])?;
    seek(c, |i| !bit(&m, i))
}

fn first_and(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let (m, n) = (get(c, a[0])?, get(c, a[1])?);
    seek(c, |i| bit(&m, i) && bit(&n, i))
}

/// Any CPU of the mask will do: the first.
fn any(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    first(c, a)
}

fn any_and(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    first_and(c, a)
}

/// Changes one bit and gives what it was; false for a CPU that is not there.
fn change(c: &mut Call<'_>, a: [u64; 5], to: bool) -> Result<u64, Stop> {
    let cpu = a[0] as u32;
    if cpu >= c.rt.world.cpus {
        return Ok(0);
    }
    let mut m = get(c, a[1])?;
    let was = bit(&m, cpu);
    if let Some(b) = m.get_mut(cpu as usize / 8) {
        *b = *b & !(1 << (cpu % 8)) | u8::from(to) << (cpu % 8);
    }
    c.put(a[1], &m)?;
    Ok(u64::from(was))
}

fn set_cpu(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    change(c, a, true)
}

fn clear_cpu(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    change(c, a, false)
}

fn test_cpu(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let cpu = a[0] as u32;
    Ok(u64::from(cpu < c.rt.world.cpus && bit(&get(c, a[1])?, cpu)))
}

/// A mask with every CPU there is.
fn every(c: &Call<'_>) -> Vec<u8> {
    let keep = |i: u32| match c.rt.world.cpus.saturating_sub(i * 8) {
        n if n >= 8 => 0xff,
        n => !(0xffu8 << n),
    };
    (0..width(c)).map(keep).collect()
}

fn setall(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let all = every(c);
    c.put(a[0], &all)?;
    Ok(0)
}

fn clear(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let none = vec![0; width(c) as usize];
    c.put(a[0], &none)?;
    Ok(0)
}

/// Writes the combination of two masks; true where a bit is set.
fn combine(c: &mut Call<'_>, a: [u64; 5], f: fn(u8, u8) -> u8) -> Result<bool, Stop> {
    let (m, n) = (get(c, a[1])?, get(c, a[2])?);
    let out: Vec<u8> = m.iter().zip(&n).map(|(x, y)| f(*x, *y)).collect();
    c.put(a[0], &out)?;
    Ok(out.iter().any(|b| *b != 0))
}

fn and(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    combine(c, a, |x, y| x & y).map(u64::from)
}

fn or(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    combine(c, a, |x, y| x | y).map(|_| 0)
}

fn xor(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    combine(c, a, |x, y| x ^ y).map(|_| 0)
}

fn both(c: &Call<'_>, a: [u64; 5], f: fn(u8, u8) -> bool) -> Result<(bool, bool), Stop> {
    let (m, n) = (get(c, a[0])?, get(c, a[1])?);
    let mut each = m.iter().zip(&n).map(|(x, y)| f(*x, *y));
    Ok((each.clone().all(|v| v), each.any(|v| v)))
}

fn equal(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(both(c, a, |x, y| x == y)?.0))
}

fn intersects(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(both(c, a, |x, y| x & y != 0)?.1))
}

fn subset(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(both(c, a, |x, y| x & !y == 0)?.0))
}

fn empty(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(get(c, a[0])?.iter().all(|b| *b == 0)))
}

fn full(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(get(c, a[0])? == every(c)))
}

fn copy(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = get(c, a[1])?;
    c.put(a[0], &m)?;
    Ok(0)
}

fn weight(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(get(c, a[0])?.iter().map(|b| u64::from(b.count_ones())).sum())
}

/// The source must cover every CPU.
fn populate(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[2] < u64::from(width(c)) {
        return number(-EACCES);
    }
    let mut m = c.bytes(a[1], width(c))?;
    for (b, e) in m.iter_mut().zip(every(c)) {
        *b &= e;
    }
    c.put(a[0], &m)?;
    Ok(0)
}
