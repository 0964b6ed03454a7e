//! The current task, per-CPU pointers, timers, kernel pointers (kernel/bpf/helpers.c, kernel/trace/bpf_trace.c).

use bpfassay_isa::Size;

use super::{number, Call, Helper};
use crate::engine::TrapKind;
use crate::runtime::maps::errno::{E2BIG, EAGAIN, EFAULT, EINVAL, ENOENT};
use crate::runtime::objects::ObjectKind;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_get_current_task", current),
    ("bpf_get_current_task_btf", current),
    ("bpf_get_current_ancestor_cgroup_id", ancestor),
    ("bpf_current_task_under_cgroup", under_cgroup),
    ("bpf_get_attach_cookie", attach_cookie),
    ("bpf_copy_from_user", copy_from_user),
    ("bpf_find_vma", find_vma),
    ("bpf_per_cpu_ptr", per_cpu_ptr),
    ("bpf_this_cpu_ptr", this_cpu_ptr),
    ("bpf_kptr_xchg", kptr_xchg),
    ("bpf_timer_init", timer_init),
    ("bpf_timer_set_callback", timer_set_callback),
    ("bpf_timer_start", timer_start),
    ("bpf_timer_cancel", timer_cancel),
    ("bpf_get_retval", get_retval),
    ("bpf_set_retval", set_retval),
    ("bpf_get_func_arg", func_arg),
    ("bpf_user_ringbuf_drain", drain),
];

fn current(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    c.rt.current_task()
}

/// The world's cgroup is the root's only child: level 1; level 0 is the root, whose number is 1.
fn ancestor(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.world.consulted = true;
    Ok(match a[0] as u32 as i32 {
        0 => 1,
        1 => c.rt.world.cgroup_id,
        _ => 0,
    })
}

/// No cgroup stands in any slot.
fn under_cgroup(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let entries = c.rt.maps.get(m).map_or(0, |m| m.shape().max_entries);
    number(if a[1] as u32 >= entries { -E2BIG } else { -EAGAIN })
}

fn attach_cookie(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(c.rt.world.attach_cookie)
}

/// The task has no memory of its own: nothing can be read there.
fn copy_from_user(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let len = c.len(a[1]);
    match c.probe(a[2], len) {
        Some(bytes) => {
            c.put(a[0], &bytes)?;
            Ok(0)
        }
        None => {
            c.put(a[0], &vec![0; len as usize])?;
            number(-EFAULT)
        }
    }
}

/// A task without memory of its own has no areas.
fn find_vma(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    number(if a[4] != 0 { -EINVAL } else { -ENOENT })
}

fn per_cpu(c: &Call<'_>, addr: u64, cpu: u32) -> Result<u64, Stop> {
    match c.rt.objects.find(addr).map(|(_, o)| o.kind) {
        Some(ObjectKind::PerCpu { stride }) => Ok(addr + u64::from(stride) * u64::from(cpu)),
        _ => Err(TrapKind::Unsupported("a per-CPU variable of the kernel").into()),
    }
}

fn per_cpu_ptr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let cpu = a[1] as u32;
    if cpu >= c.rt.world.cpus {
        return Ok(0);
    }
    per_cpu(c, a[0], cpu)
}

fn this_cpu_ptr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    per_cpu(c, a[0], c.rt.world.cpu)
}

fn kptr_xchg(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let old = c.mem().load(a[0], Size::Dw)?;
    c.rt.mem.store(a[0], Size::Dw, a[1])?;
    Ok(old)
}

/// `CLOCK_REALTIME`, `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`.
fn timer_init(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if !matches!(a[2], 0 | 1 | 7) {
        return number(-EINVAL);
    }
    number(c.rt.asyncs.init(a[0], a[1]))
}

fn timer_set_callback(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    number(c.rt.asyncs.set_callback(a[0], a[1]))
}

fn timer_start(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `BPF_F_TIMER_ABS | BPF_F_TIMER_CPU_PIN`.
    const FLAGS: u64 = 3;
    if a[2] & !FLAGS != 0 {
        return number(-EINVAL);
    }
    number(c.rt.asyncs.start(a[0], a[1]))
}

fn timer_cancel(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    number(c.rt.asyncs.cancel(a[0]))
}

fn get_retval(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    number(i64::from(c.rt.hook_retval))
}

fn set_retval(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.hook_retval = a[0] as u32 as i32;
    Ok(0)
}

/// Argument of the traced function: a word of the context.
fn func_arg(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let n = c.rt.world.traced_args;
    let Some(n) = n else { return Err(c.bad("the traced function's arguments are not known")) };
    if a[1] as u32 >= n {
        return number(-EINVAL);
    }
    let value = c.mem().load(a[0].wrapping_add(8 * u64::from(a[1] as u32)), Size::Dw)?;
    c.put(a[2], &value.to_le_bytes())?;
    Ok(0)
}

/// Calls `callback(dynptr, ctx)` for every sample user space has put there until it returns 1.
fn drain(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP`.
    const FLAGS: u64 = 3;
    /// `BPF_MAX_USER_RINGBUF_SAMPLES`.
    const MAX_SAMPLES: u64 = 128 * 1024;
    let m = c.map(a[0])?;
    if a[3] & !FLAGS != 0 {
        return number(-EINVAL);
    }
    let mut calls = 0;
    while calls < MAX_SAMPLES {
        let next = c.rt.maps.get_mut(m).and_then(|m| m.next_sample());
        let Some(sample) = next else { break };
        let data = c.rt.lend(&sample)?;
        let pointer = super::dynptr::over(data, sample.len());
        let at = c.rt.lend(&pointer)?;
        calls += 1;
        let stop = c.callbacks.invoke(c.rt, a[1], [at, a[2], 0, 0, 0]);
        c.rt.take_back(at);
        c.rt.take_back(data);
        if stop? != 0 {
            break;
        }
    }
    Ok(calls)
}
