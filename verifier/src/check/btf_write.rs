//! Fields of kernel structs that programs may write (`btf_struct_access` of the verifier ops
//! of XDP, tc and the struct_ops kinds).
//!
//! A store that is not allowed says why in the words of that program type.

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::ProgType;

use super::btf_walk::btf_of;
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Members of `struct tcp_sock` that a congestion control may write, as struct and path.
const TCP_CA: [(&str, &str); 10] = [
    ("sock", "sk_pacing_rate"),
    ("sock", "sk_pacing_status"),
    ("inet_connection_sock", "icsk_ca_priv"),
    ("inet_connection_sock", "icsk_ack.pending"),
    ("tcp_sock", "snd_cwnd"),
    ("tcp_sock", "snd_cwnd_cnt"),
    ("tcp_sock", "snd_cwnd_stamp"),
    ("tcp_sock", "snd_ssthresh"),
    ("tcp_sock", "ecn_flags"),
    ("tcp_sock", "app_limited"),
];

/// Those of them that came later (feature `tcp_ca_limits`).
const LATER: [&str; 2] = ["snd_cwnd_stamp", "app_limited"];

/// Members of `struct task_struct` that a scheduler may write.
const SCX: [&str; 3] = ["scx.disallow", "scx.slice", "scx.dsq_vtime"];

/// Of these what a scheduler by `struct sched_ext_ops_cid` may write (7.2, `bpf_scx_cid_btf_struct_access`).
const SCX_CID: usize = 1;

/// Byte range of a member named by a dotted path, anonymous structs and unions looked through.
pub fn member_range(btf: &Btf, strukt: &str, path: &str) -> Option<(u32, u32)> {
    let mut id = btf.find_by_name_kind(strukt, BtfKind::Struct)?;
    let (mut off, mut size) = (0, 0);
    for part in path.split('.') {
        let (at, ty) = find_member(btf, id, part, 0)?;
        off += at;
        size = btf.size_of(ty)?;
        id = btf.skip_mods_and_typedefs(ty)?.id();
    }
    Some((off, off + size))
}

fn find_member(btf: &Btf, id: u32, name: &str, depth: usize) -> Option<(u32, u32)> {
    /// Anonymous nesting that real structs do not reach.
    const MAX_DEPTH: usize = 16;
    if depth > MAX_DEPTH {
        return None;
    }
    for m in btf.ty(id)?.members() {
        let mname = btf.str(m.name_off);
        if mname == name {
            return Some((m.byte_offset(), m.type_id));
        }
        if mname.is_empty() {
            let inner = btf.skip_mods_and_typedefs(m.type_id)?;
            if let Some((off, ty)) = find_member(btf, inner.id(), name, depth + 1) {
                return Some((m.byte_offset() + off, ty));
            }
        }
    }
    None
}

/// Whether the program's kind lets it write here; false where its kind writes nothing at all.
pub(super) fn check_struct_write(
    env: &mut Env<'_>,
    reg: &RegState,
    off: i32,
    size: i32,
) -> Check<bool> {
    match env.prog.prog_type {
        ProgType::StructOps => struct_ops_write(env, reg, off, size),
        t if env.kernel.prog(t).is_some_and(|row| row.writes_conntrack) => {
            if reg.btf() == Some(BtfObj::PROG) {
                return not_kernel_btf(env);
            }
            conntrack_write(env, reg, off, size)
        }
        _ => Ok(false),
    }
}

/// Only connection tracking allows anything, and only while it is there (`_nf_conntrack_btf_struct_access`).
fn conntrack_write(env: &mut Env<'_>, reg: &RegState, off: i32, size: i32) -> Check<bool> {
    let btf = btf_of(env, reg.btf().unwrap_or(BtfObj::VMLINUX))?;
    let is_conn = matches!(btf.name(reg.btf_id()), "nf_conn" | "nf_conn___init");
    let config = &env.kernel.config;
    let is_there = config.has("NF_CONNTRACK")
        || env.config.modules.iter().any(|(name, _)| name == "nf_conntrack");
    let has_mark = config.has("NF_CONNTRACK_MARK");
    if !is_there {
        return Err(Errno::EACCES.into());
    }
    if !is_conn {
        verbose!(env, "only read is supported\n");
        return Err(Errno::EACCES.into());
    }
    let Some((start, end)) =
        member_range(&btf, "nf_conn", "mark").filter(|(s, _)| *s == off as u32 && has_mark)
    else {
        verbose!(env, "no write support to nf_conn at off {off}\n");
        return Err(Errno::EACCES.into());
    };
    if start.wrapping_add(size as u32) > end {
        verbose!(
            env,
            "write access at off {off} with size {size} beyond the member of nf_conn ended at {end}\n"
        );
        return Err(Errno::EACCES.into());
    }
    Ok(true)
}

fn not_kernel_btf(env: &mut Env<'_>) -> Check<bool> {
    verbose!(env, "verifier bug: reg->btf must be kernel btf\n");
    Err(Errno::EFAULT.into())
}

fn struct_ops_write(env: &mut Env<'_>, reg: &RegState, off: i32, size: i32) -> Check<bool> {
    let Some(target) = env.prog.attach_target.as_ref() else {
        return Err(Stop::unsupported("struct_ops program without a target"));
    };
    let kind = target.name.clone();
    let btf = btf_of(env, reg.btf().unwrap_or(BtfObj::VMLINUX))?;
    if reg.btf() == Some(BtfObj::PROG) {
        // Kinds without a rule of their own fall back to the general one.
        return if has_write_rule(&kind) { not_kernel_btf(env) } else { Ok(false) };
    }
    let tname = btf.name(reg.btf_id()).to_string();
    match kind.as_str() {
        "tcp_congestion_ops" => tcp_ca_write(env, &btf, &tname, off, size),
        "sched_ext_ops" | "sched_ext_ops_cid" => {
            let fields = if kind == "sched_ext_ops" { &SCX[..] } else { &SCX[..SCX_CID] };
            let ok = tname == "task_struct"
                && fields
                    .iter()
                    .filter_map(|p| member_range(&btf, "task_struct", p))
                    .any(|(s, e)| off as u32 >= s && off.wrapping_add(size) as u32 <= e);
            if ok {
                Ok(true)
            } else {
                Err(Errno::EACCES.into())
            }
        }
        "bpf_dummy_ops" => dummy_write(env, &btf, &tname, off, size),
        "Qdisc_ops" => qdisc_write(env, &btf, &tname, off, size),
        _ => Ok(false),
    }
}

fn has_write_rule(kind: &str) -> bool {
    matches!(
        kind,
        "tcp_congestion_ops"
            | "sched_ext_ops"
            | "sched_ext_ops_cid"
            | "bpf_dummy_ops"
            | "Qdisc_ops"
    )
}

fn tcp_ca_write(env: &mut Env<'_>, btf: &Btf, tname: &str, off: i32, size: i32) -> Check<bool> {
    if tname != "tcp_sock" {
        verbose!(env, "only read is supported\n");
        return Err(Errno::EACCES.into());
    }
    // The private area may be entered anywhere, the rest only at its start.
    let all = env.kernel.features.tcp_ca_limits;
    let rows = TCP_CA.iter().filter(|(_, path)| all || !LATER.contains(path));
    let end = rows.clone().find_map(|(s, path)| {
        let (from, to) = member_range(btf, s, path)?;
        let at = off as u32;
        let hit = if *path == "icsk_ca_priv" { (from..to).contains(&at) } else { at == from };
        hit.then_some(to)
    });
    let Some(end) = end else {
        verbose!(env, "no write support to tcp_sock at off {off}\n");
        return Err(Errno::EACCES.into());
    };
    if off.wrapping_add(size) as u32 > end {
        verbose!(
            env,
            "write access at off {off} with size {size} beyond the member of tcp_sock ended at {end}\n"
        );
        return Err(Errno::EACCES.into());
    }
    Ok(true)
}

/// Queueing disciplines may write their own counters and the private part of a packet
/// (`bpf_qdisc_btf_struct_access`).
fn qdisc_write(env: &mut Env<'_>, btf: &Btf, tname: &str, off: i32, size: i32) -> Check<bool> {
    let at = off as u32;
    let exactly = |strukt, path| member_range(btf, strukt, path).filter(|(s, _)| *s == at);
    let within = |range: Option<(u32, u32)>| range.filter(|(s, e)| (*s..*e).contains(&at));
    let hit = match tname {
        "sk_buff" => exactly("sk_buff", "tstamp").or_else(|| {
            let (cb, _) = member_range(btf, "sk_buff", "cb")?;
            let (start, end) = member_range(btf, "qdisc_skb_cb", "data")?;
            within(Some((cb + start, cb + end)))
        }),
        "Qdisc" => exactly("Qdisc", "limit")
            .or_else(|| exactly("Qdisc", "q.qlen"))
            .or_else(|| within(member_range(btf, "Qdisc", "qstats"))),
        _ => {
            verbose!(env, "only read is supported\n");
            return Err(Errno::EACCES.into());
        }
    };
    let Some((_, end)) = hit else {
        verbose!(env, "no write support to {tname} at off {off}\n");
        return Err(Errno::EACCES.into());
    };
    if off.wrapping_add(size) as u32 > end {
        verbose!(
            env,
            "write access at off {off} with size {size} beyond the member of {tname} ended at {end}\n"
        );
        return Err(Errno::EACCES.into());
    }
    Ok(true)
}

fn dummy_write(env: &mut Env<'_>, btf: &Btf, tname: &str, off: i32, size: i32) -> Check<bool> {
    let Some(id) = btf.find_by_name_kind("bpf_dummy_ops_state", BtfKind::Struct) else {
        return Err(Errno::EINVAL.into());
    };
    if tname != "bpf_dummy_ops_state" {
        verbose!(env, "only access to bpf_dummy_ops_state is supported\n");
        return Err(Errno::EACCES.into());
    }
    let whole = btf.ty(id).map_or(0, |t| t.size());
    if off.wrapping_add(size) as u32 > whole {
        verbose!(env, "write access at off {off} with size {size}\n");
        return Err(Errno::EACCES.into());
    }
    Ok(true)
}
