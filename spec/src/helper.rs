//! Helper prototypes (`struct bpf_func_proto`) and what holds for a helper number.
//!
//! One helper may have several prototypes: [`crate::callers`] says which one answers a program.

use crate::generated::helpers as table;
use crate::kernel::Kernel;
use crate::tables::HelperRow;
use crate::types::{ArgType, RetType};

pub use crate::generated::helpers::HelperTraits;

/// One helper as the verifier sees it.  Rows come from `data/helpers/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperProto {
    /// `BPF_FUNC_…` number.
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
    /// The prototypes of one helper.
    pub fn of(id: u32) -> &'static [HelperProto] {
        let start = table::PROTOS.partition_point(|p| p.id < id);
        let end = table::PROTOS.partition_point(|p| p.id <= id);
        table::PROTOS.get(start..end).unwrap_or(&[])
    }

    /// Number of arguments (`ARG_DONTCARE` ends them).
    pub fn arg_count(&self) -> usize {
        self.args
            .iter()
            .position(|a| *a == crate::types::ArgBase::DontCare)
            .unwrap_or(self.args.len())
    }
}

/// Kernel name of a helper number as the log prints it (`func_id_name`): `bpf_unspec` for 0,
/// `unknown` outside the table.  For whoever has no kernel at hand; else [`Kernel::helper_name`].
pub fn func_id_name(id: i32) -> &'static str {
    usize::try_from(id).ok().and_then(|i| table::NAMES.get(i)).map_or("unknown", |(name, _)| name)
}

/// Number of a helper by name, with or without `bpf_`.
pub fn func_id(name: &str) -> Option<u32> {
    let short = name.strip_prefix("bpf_").unwrap_or(name);
    table::NAMES
        .iter()
        .position(|(n, _)| n.strip_prefix("bpf_") == Some(short))
        .and_then(|i| u32::try_from(i).ok())
}

impl Kernel {
    /// Numbers that this kernel's release knows, 0 included (`__BPF_FUNC_MAX_ID` is the end).
    pub fn helper_ids(&self) -> std::ops::Range<i32> {
        0..self.tables.helpers.len() as i32
    }

    /// Name of a helper number as this kernel prints it (`func_id_name`).
    pub fn helper_name(&self, id: i32) -> &'static str {
        self.helper_row(id).map_or("unknown", |r| r.name)
    }

    /// The JIT writes the helper's instructions in place of the call (`bpf_jit_inlines_helper_call`).
    pub fn jit_inlines(&self, id: i32) -> bool {
        let name = self.helper_name(id);
        let name = name.strip_prefix("bpf_").unwrap_or(name);
        self.jit.inlines.iter().any(|n| n == name)
    }

    /// What the verifier knows of a helper beyond its prototype; nothing of numbers that the kernel does not know.
    pub fn helper_traits(&self, id: i32) -> HelperTraits {
        self.helper_row(id).map_or(HelperTraits::default(), |r| r.traits)
    }

    pub(crate) fn helper_row(&self, id: i32) -> Option<&HelperRow> {
        let at = usize::try_from(id).ok()?;
        let is_hole = self.tables.holes.get(at).copied().unwrap_or(false);
        self.tables.helpers.get(at).filter(|_| !is_hole)
    }
}

/// What libbpf calls in place of a newer reading helper where it cannot find out whether the kernel has that.
pub fn older_probe_read(id: i32) -> i32 {
    use crate::generated::func;
    match id {
        func::PROBE_READ_USER | func::PROBE_READ_KERNEL => func::PROBE_READ,
        func::PROBE_READ_USER_STR | func::PROBE_READ_KERNEL_STR => func::PROBE_READ_STR,
        other => other,
    }
}
