//! Critical sections, exceptions, casts, work queues, streams.
//!
//! One CPU runs the program and nothing interrupts it, so read-side sections
//! and disabled interrupts need no state; a resilient lock does, because taking
//! it twice is an error the program sees.

use bpfassay_isa::Size;

use super::super::{format, number, Call, Helper};
use crate::runtime::maps::errno::{EINVAL, ENOENT};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_rcu_read_lock", nothing),
    ("bpf_rcu_read_unlock", nothing),
    ("bpf_preempt_disable", nothing),
    ("bpf_preempt_enable", nothing),
    ("bpf_local_irq_save", irq_save),
    ("bpf_local_irq_restore", nothing),
    ("__bpf_trap", nothing),
    ("bpf_res_spin_lock", lock),
    ("bpf_res_spin_unlock", unlock),
    ("bpf_res_spin_lock_irqsave", lock),
    ("bpf_res_spin_unlock_irqrestore", unlock),
    ("bpf_task_acquire", cast),
    ("bpf_task_release", nothing),
    ("bpf_task_from_pid", task_from_pid),
    ("bpf_task_from_vpid", task_from_pid),
    ("bpf_throw", throw),
    ("bpf_rdonly_cast", cast),
    ("bpf_wq_init", wq_init),
    ("bpf_wq_set_callback_impl", wq_set_callback),
    ("bpf_wq_start", wq_start),
    ("bpf_stream_vprintk_impl", stream_vprintk),
];

const EDEADLK: i64 = 35;

fn nothing(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(0)
}

/// The saved flags: interrupts were on (`X86_EFLAGS_IF`).
fn irq_save(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.mem.store(a[0], Size::Dw, 0x200)?;
    Ok(0)
}

fn lock(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if c.rt.held.contains(&a[0]) {
        return number(-EDEADLK);
    }
    c.rt.held.push(a[0]);
    Ok(0)
}

fn unlock(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.held.retain(|l| *l != a[0]);
    Ok(0)
}

fn throw(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Err(Stop::Throw(a[0]))
}

/// The address itself; what stands there is looked at when it is read.
fn cast(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(a[0])
}

/// The world has one task.
fn task_from_pid(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.world.consulted = true;
    let own = c.rt.world.pid_tgid as u32;
    match a[0] as u32 == own {
        true => c.rt.current_task(),
        false => Ok(0),
    }
}

fn wq_init(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[2] as u32 != 0 {
        return number(-EINVAL);
    }
    number(c.rt.asyncs.init(a[0], a[1]))
}

fn wq_set_callback(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[2] as u32 != 0 {
        return number(-EINVAL);
    }
    number(c.rt.asyncs.set_callback(a[0], a[1]))
}

fn wq_start(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[1] as u32 != 0 {
        return number(-EINVAL);
    }
    number(c.rt.asyncs.start(a[0], 0))
}

/// `BPF_STDOUT` and `BPF_STDERR`.  Nobody reads them during a run.
fn stream_vprintk(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let stream = a[0] as u32;
    if !matches!(stream, 1 | 2) {
        return number(-ENOENT);
    }
    let fmt = c.c_string(a[1]);
    let Some(args) = format::arguments(c, a[2], c.len(a[3]))? else { return number(-EINVAL) };
    match format::format(c, &fmt, &args)? {
        Some(text) => number(c.rt.world.stream(stream, &text)),
        None => number(-EINVAL),
    }
}
