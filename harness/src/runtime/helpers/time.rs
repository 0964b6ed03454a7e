//! Clocks, chance and the current task, all from the supplied world.

use super::{number, Call, Helper};
use crate::runtime::maps::errno::EINVAL;
use crate::runtime::world::World;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_ktime_get_ns", ktime),
    ("bpf_ktime_get_coarse_ns", ktime),
    ("bpf_ktime_get_boot_ns", boot),
    ("bpf_ktime_get_tai_ns", tai),
    ("bpf_jiffies64", jiffies),
    ("bpf_get_prandom_u32", random),
    ("bpf_get_smp_processor_id", cpu),
    ("bpf_get_numa_node_id", numa),
    ("bpf_get_current_pid_tgid", pid_tgid),
    ("bpf_get_current_uid_gid", uid_gid),
    ("bpf_get_current_comm", comm),
    ("bpf_get_current_cgroup_id", cgroup),
];

/// The world, noted as consulted.
fn world<'c>(c: &'c mut Call<'_>) -> &'c mut World {
    c.rt.world.consulted = true;
    &mut c.rt.world
}

fn ktime(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).now())
}

fn boot(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let w = world(c);
    Ok(w.now().wrapping_add(w.boot_offset_ns))
}

fn tai(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let w = world(c);
    Ok(w.now().wrapping_add(w.tai_offset_ns))
}

/// Ticks of 4 ms, as with `CONFIG_HZ=250`.
fn jiffies(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).now() / 4_000_000)
}

fn random(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).random_u32() as u64)
}

fn cpu(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).cpu as u64)
}

fn numa(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).numa_node as u64)
}

fn pid_tgid(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).pid_tgid)
}

fn uid_gid(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).uid_gid)
}

fn cgroup(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(world(c).cgroup_id)
}

/// Copies the task's name, cut and zero-padded to the buffer.
fn comm(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let size = c.len(a[1]) as usize;
    if size == 0 {
        return number(-EINVAL);
    }
    let mut name: Vec<u8> = world(c).comm.iter().copied().take_while(|b| *b != 0).collect();
    name.truncate(size - 1);
    name.resize(size, 0);
    c.put(a[0], &name)?;
    Ok(0)
}
