//! Which programs may use which maps at all (`check_map_prog_compatibility`).

use bpfassay_spec::{MapType, ProgType};

use super::btf_record::FieldKinds;
use crate::env::{Env, MapInfo};
use crate::stop::{Check, Errno};
use crate::verbose;

/// A map seen for the first time, before it is counted as used.
pub fn check_map_prog_compatibility(env: &mut Env<'_>, map: &MapInfo) -> Check {
    check_fields(env, map)?;
    let map_type = map.def.map_type;
    if map_type == MapType::StructOps {
        verbose!(env, "bpf_struct_ops map cannot be used in prog\n");
        return Err(Errno::EINVAL.into());
    }
    let tail_calls = map_type == MapType::ProgArray && env.kernel.features.program_arrays_sleep;
    let may_sleep = tail_calls || env.kernel.map_use(map_type).is_some_and(|row| row.sleepable);
    if env.prog_sleepable && !may_sleep {
        verbose!(
            env,
            "Sleepable programs can only use array, hash, ringbuf and local storage maps\n"
        );
        return Err(Errno::EINVAL.into());
    }
    let is_storage = matches!(map_type, MapType::CgroupStorage | MapType::PercpuCgroupStorage);
    let another = env.maps.iter().any(|m| m.def.map_type == map_type);
    if is_storage && another {
        verbose!(env, "only one cgroup storage of each type is allowed\n");
        return Err(Errno::EBUSY.into());
    }
    if map_type == MapType::Arena {
        if another {
            verbose!(env, "Only one arena per program\n");
            return Err(Errno::EBUSY.into());
        }
        if !env.allow_ptr_leaks || !env.bpf_capable {
            verbose!(env, "CAP_BPF and CAP_PERFMON are required to use arena\n");
            return Err(Errno::EPERM.into());
        }
    }
    Ok(())
}

/// Fields of the value that some program types may not touch.
fn check_fields(env: &mut Env<'_>, map: &MapInfo) -> Check {
    let Some(record) = &map.record else { return Ok(()) };
    let prog_type = env.type_before_target();
    let tracing = env.kernel.prog(prog_type).is_some_and(|row| row.perf_like);
    let refuse = |env: &mut Env<'_>, what: &str| {
        verbose!(env, "{} yet\n", what);
        Err(Errno::EINVAL.into())
    };
    if tracing && record.has(FieldKinds::GRAPH_ROOT) {
        return refuse(env, "tracing progs cannot use bpf_{list_head,rb_root}");
    }
    if record.has(FieldKinds::SPIN_LOCK | FieldKinds::RES_SPIN_LOCK) {
        if prog_type == ProgType::SocketFilter {
            return refuse(env, "socket filter progs cannot use bpf_spin_lock");
        }
        if tracing {
            return refuse(env, "tracing progs cannot use bpf_spin_lock");
        }
        if env.prog_sleepable && !env.kernel.features.sleepable_may_lock {
            return refuse(env, "sleepable progs cannot use bpf_spin_lock");
        }
    }
    let tracing = tracing && !env.kernel.features.tracing_may_defer;
    if tracing && record.has(FieldKinds::TIMER) && env.kernel.features.timer_fields {
        return refuse(env, "tracing progs cannot use bpf_timer");
    }
    if tracing && record.has(FieldKinds::WORKQUEUE) {
        return refuse(env, "tracing progs cannot use bpf_wq");
    }
    Ok(())
}
