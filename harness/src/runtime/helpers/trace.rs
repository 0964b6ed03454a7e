//! Tracing: reading memory that may not be there, printing, event output (kernel/trace/bpf_trace.c).

use super::{format, number, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EFAULT, EINVAL, ENOENT};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_probe_read", probe_read),
    ("bpf_probe_read_kernel", probe_read),
    ("bpf_probe_read_user", probe_read),
    ("bpf_probe_read_str", probe_read_str),
    ("bpf_probe_read_kernel_str", probe_read_str),
    ("bpf_probe_read_user_str", probe_read_str),
    ("bpf_trace_printk", trace_printk),
    ("bpf_trace_vprintk", trace_vprintk),
    ("bpf_snprintf", snprintf),
    ("bpf_perf_event_output", event_output),
    ("bpf_skb_output", event_output),
    ("bpf_xdp_output", event_output),
];

/// Copies, or zeroes the destination and gives EFAULT where nothing can be read.
fn probe_read(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let len = c.len(a[1]);
    let (bytes, result) = match c.mem().probe(a[2], len) {
        Ok(b) => (b.to_vec(), 0),
        Err(_) if len == 0 => (Vec::new(), 0),
        Err(_) => (vec![0; len as usize], -EFAULT),
    };
    c.put(a[0], &bytes)?;
    number(result)
}

/// Copies a string with its zero, cut to the buffer; gives the bytes written.
fn probe_read_str(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let len = c.len(a[1]) as usize;
    if len == 0 {
        return Ok(0);
    }
    if c.mem().readable(a[2]).is_empty() {
        c.put(a[0], &vec![0; len])?;
        return number(-EFAULT);
    }
    let mut s = c.c_string(a[2]);
    s.truncate(len - 1);
    s.push(0);
    c.put(a[0], &s)?;
    Ok(s.len() as u64)
}

fn trace_printk(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let fmt = c.bytes(a[0], c.len(a[1]))?;
    print(c, &fmt, &a[2..])
}

fn trace_vprintk(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let fmt = c.bytes(a[0], c.len(a[1]))?;
    match format::arguments(c, a[2], c.len(a[3]))? {
        Some(args) => print(c, &fmt, &args),
        None => number(-EINVAL),
    }
}

fn print(c: &mut Call<'_>, fmt: &[u8], args: &[u64]) -> Result<u64, Stop> {
    match format::format(c, fmt, args)? {
        Some(text) => {
            let n = text.len();
            c.rt.world.printed.push(String::from_utf8_lossy(&text).into_owned());
            Ok(n as u64)
        }
        None => number(-EINVAL),
    }
}

/// Formats into a buffer; gives the length it would have had, the zero included.
fn snprintf(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let fmt = c.c_string(a[2]);
    let Some(args) = format::arguments(c, a[3], c.len(a[4]))? else { return number(-EINVAL) };
    let Some(mut text) = format::format(c, &fmt, &args)? else { return number(-EINVAL) };
    text.push(0);
    let whole = text.len() as u64;
    let room = c.len(a[1]) as usize;
    if text.len() > room && room > 0 {
        text.truncate(room - 1);
        text.push(0);
    }
    text.truncate(room);
    c.put(a[0], &text)?;
    Ok(whole)
}

/// `BPF_F_INDEX_MASK`, and `BPF_F_CTXLEN_MASK` of the forms that add packet bytes.
const INDEX_MASK: u64 = 0xffff_ffff;
const CTXLEN_MASK: u64 = 0xf_ffff << 32;

/// No event is attached to the array, which is what the kernel then says.
fn event_output(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[1])?;
    let Some(map) = c.rt.maps.get(m).filter(|m| m.is_event_array()) else {
        return Err(c.bad("not a perf event array"));
    };
    if a[2] & !(INDEX_MASK | CTXLEN_MASK) != 0 {
        return number(-EINVAL);
    }
    let index = match a[2] & INDEX_MASK {
        INDEX_MASK => c.rt.world.cpu as u64,
        i => i,
    };
    if index >= map.shape().max_entries as u64 {
        return number(-E2BIG);
    }
    number(-ENOENT)
}
