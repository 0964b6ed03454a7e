//! Helper prototypes (`struct bpf_func_proto`).

use crate::types::{ArgType, RetType};

/// One helper as the verifier sees it.  Rows come from `data/helpers/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperProto {
    /// `BPF_FUNC_…` number, 1 to 211.
    pub id: u32,
    /// Kernel name with its `bpf_` prefix, e.g. `bpf_map_lookup_elem`.
    pub name: &'static str,
    pub gpl_only: bool,
    /// May take packet pointers (`pkt_access`).
    pub pkt_access: bool,
    pub might_sleep: bool,
    /// Follows the `bpf_fastcall` contract.
    pub allow_fastcall: bool,
    pub ret: RetType,
    pub args: [ArgType; 5],
    /// Kernel struct of a `BtfId` argument, by name (`arg*_btf_id`).
    pub arg_btf: [Option<&'static str>; 5],
    /// Size in bytes of a `MEM_FIXED_SIZE` argument.
    pub arg_size: [u32; 5],
    /// Kernel struct returned (`ret_btf_id`).
    pub ret_btf: Option<&'static str>,
    /// Extra condition on the program (`allowed`), by kernel function name; e.g. `bpf_d_path_allowed`.
    pub allowed: Option<&'static str>,
}
