//! What is known about a call while its arguments are checked (`struct bpf_call_arg_meta`).

use bpfassay_isa::Reg;

use super::btf_record::BtfField;
use crate::domain::reg::{BtfObj, MapId};

/// Filled by the argument checks, read by what follows.
#[derive(Clone, Debug, Default)]
pub struct CallMeta {
    pub map: Option<MapId>,
    pub map_uid: u32,
    /// Memory argument that the call fills (raw mode).
    pub raw_mode: bool,
    pub pkt_access: bool,
    /// Register of the memory argument in raw mode, and bytes it may fill.
    pub regno: Option<Reg>,
    pub access_size: i32,
    pub msize_max_value: u64,
    pub mem_size: u32,
    pub ref_obj_id: u32,
    pub dynptr_id: u32,
    /// Value of a map key that is known (`const_map_key`).
    pub map_key_const: Option<i64>,
    pub func_id: i32,
    pub btf: Option<BtfObj>,
    pub btf_id: u32,
    pub ret_btf: Option<BtfObj>,
    pub ret_btf_id: u32,
    pub subprogno: u32,
    pub release_regno: Option<Reg>,
    pub uninit_dynptr_regno: Option<Reg>,
    pub kptr_field: Option<BtfField>,
}

/// Per-program tables of the call rooms: kfunc descriptors and the like.
#[derive(Debug, Default)]
pub struct CallTables {}
