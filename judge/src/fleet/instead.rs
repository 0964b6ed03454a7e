//! What to write instead, so that a program is taken by kernels on both sides of a flip.

use bpfassay_diag::explain;
use bpfassay_spec::{Difference, RowKind};

use super::search::{Cause, Culprit};
use crate::report::ProgramReport;

/// Advice by the kind of cause, else what is advised for the rejection in general.
pub(super) fn advice(cause: Option<&Cause>, rejected: &ProgramReport) -> Option<String> {
    let of_cause = match cause {
        Some(Cause::Kernel(Difference::Row(row))) => of_row(row.kind, row.name, rejected),
        Some(Cause::Types(Some(Culprit::Symbol(name)))) => Some(format!(
            "declare {name} `__ksym __weak` and use it only `if (bpf_ksym_exists({name}))`"
        )),
        Some(Cause::Config(name) | Cause::Kernel(Difference::Config(name))) => {
            Some(format!("load the program only where the kernel is built with CONFIG_{name}"))
        }
        _ => None,
    };
    of_cause.or_else(|| in_general(rejected))
}

fn of_row(kind: RowKind, name: &str, rejected: &ProgramReport) -> Option<String> {
    match kind {
        RowKind::Helper => {
            let id = name.strip_prefix("bpf_").unwrap_or(name);
            Some(format!(
                "call {name} only `if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_{id}))`, so \
                 that the call is dead code where the helper is missing"
            ))
        }
        RowKind::MapType => Some(format!(
            "use a map of another type where `libbpf_probe_bpf_map_type` finds no {name}, or leave map \
             and programs out (`bpf_map__set_autocreate`, `bpf_program__set_autoload`)"
        )),
        RowKind::ProgType => Some(
            "leave the program out (`bpf_program__set_autoload`) where `libbpf_probe_bpf_prog_type` \
             does not find its type"
                .to_string(),
        ),
        RowKind::Tracepoint => {
            let is_null = rejected.message.as_deref().is_some_and(|m| m.contains("or_null"));
            Some(match is_null {
                true => "compare the argument with NULL before it is followed".to_string(),
                false => "read through the argument with `bpf_probe_read_kernel` (BPF_CORE_READ), \
                          which takes any address"
                    .to_string(),
            })
        }
        _ => None,
    }
}

/// What to change for the rejection's code.
fn in_general(rejected: &ProgramReport) -> Option<String> {
    let change = explain::by_name(rejected.code?)?.change;
    (!change.is_empty()).then(|| change.trim_end_matches('.').to_string())
}
