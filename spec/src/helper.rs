//! Helper prototypes (`struct bpf_func_proto`) and what holds for a helper number.
//!
//! One helper may have several prototypes: [`crate::callers`] says which one answers a program.

use crate::generated::helpers as table;
use crate::types::{ArgType, RetType};

/// One helper as the verifier sees it.  Rows come from `data/helpers/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperProto {
    /// `BPF_FUNC_…` number, 1 to 211.
    pub id: u32,
    /// Kernel name with its `bpf_` prefix, e.g. `bpf_map_lookup_elem`.
    pub name: &'static str,
    /// The kernel's prototype, e.g. `bpf_get_stackid_proto_pe`: tells variants of one helper apart.
    pub symbol: &'static str,
    /// The kernel function behind it.
    pub func: &'static str,
    /// Kernel file that defines the prototype.
    pub source: &'static str,
    /// Configuration symbol without which the prototype is empty (calls are then "not allowed").
    pub config: Option<&'static str>,
    pub gpl_only: bool,
    /// May take packet pointers (`pkt_access`).
    pub pkt_access: bool,
    pub might_sleep: bool,
    /// Follows the `bpf_fastcall` contract.
    pub allow_fastcall: bool,
    pub ret: RetType,
    pub args: [ArgType; 5],
    /// Kernel struct of a `BtfId` argument, by name (`arg*_btf_id`); None also where the kernel
    /// leaves the choice to the verifier (`BPF_PTR_POISON`: spin locks, `kptr_xchg`).
    pub arg_btf: [Option<&'static str>; 5],
    /// Size in bytes of a `MEM_FIXED_SIZE` argument.
    pub arg_size: [u32; 5],
    /// Kernel struct returned (`ret_btf_id`); None for `kptr_xchg`, whose map decides.
    pub ret_btf: Option<&'static str>,
    /// Extra condition on the program (`allowed`), by kernel function name; e.g. `bpf_d_path_allowed`.
    pub allowed: Option<&'static str>,
}

impl HelperProto {
    /// Every prototype, by number, then symbol.
    pub fn all() -> &'static [HelperProto] {
        &table::PROTOS
    }

    /// The prototypes of one helper.
    pub fn of(id: u32) -> &'static [HelperProto] {
        let start = table::PROTOS.partition_point(|p| p.id < id);
        let end = table::PROTOS.partition_point(|p| p.id <= id);
        table::PROTOS.get(start..end).unwrap_or(&[])
    }

    /// By the kernel's symbol.
    pub fn by_symbol(symbol: &str) -> Option<&'static HelperProto> {
        table::PROTOS.iter().find(|p| p.symbol == symbol)
    }

    /// Number of arguments (`ARG_DONTCARE` ends them).
    pub fn arg_count(&self) -> usize {
        self.args
            .iter()
            .position(|a| *a == crate::types::ArgBase::DontCare)
            .unwrap_or(self.args.len())
    }
}

/// `__BPF_FUNC_MAX_ID`: one above the last helper number.
pub const MAX_ID: i32 = table::NAMES.len() as i32;

/// Kernel name of a helper number as the log prints it (`func_id_name`): `bpf_unspec` for 0,
/// `unknown` outside the table.
pub fn func_id_name(id: i32) -> &'static str {
    usize::try_from(id).ok().and_then(|i| table::NAMES.get(i)).copied().unwrap_or("unknown")
}

/// Number of a helper by name, with or without `bpf_`.
pub fn func_id(name: &str) -> Option<u32> {
    let short = name.strip_prefix("bpf_").unwrap_or(name);
    table::NAMES
        .iter()
        .position(|n| n.strip_prefix("bpf_") == Some(short))
        .and_then(|i| u32::try_from(i).ok())
}

/// Calling it may move or change packet data, so packet pointers die (`bpf_helper_changes_pkt_data`).
pub fn changes_pkt_data(id: u32) -> bool {
    table::CHANGES_PKT_DATA.binary_search(&id).is_ok()
}
