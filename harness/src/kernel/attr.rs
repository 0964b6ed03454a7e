//! `union bpf_attr`, one structure per command, as far as this crate fills it (`include/uapi/linux/bpf.h`).
//!
//! Pointers are `u64` as in the kernel's layout.  The kernel takes a shorter
//! structure than its own as one with zeroes behind.

pub const OBJ_NAME_LEN: usize = 16;

/// `enum bpf_cmd`, the commands used here; none of them attaches or pins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Cmd {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ProgTestRun = 10,
    BtfGetFdById = 19,
    ObjGetInfoByFd = 15,
    BtfLoad = 18,
    MapFreeze = 22,
    BtfGetNextId = 23,
}

#[derive(Default)]
#[repr(C)]
pub struct MapCreate {
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub inner_map_fd: u32,
    pub numa_node: u32,
    pub map_name: [u8; OBJ_NAME_LEN],
    pub map_ifindex: u32,
    pub btf_fd: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub btf_vmlinux_value_type_id: u32,
    pub map_extra: u64,
    pub value_type_btf_obj_fd: i32,
    pub map_token_fd: i32,
}

#[derive(Default)]
#[repr(C)]
pub struct MapElem {
    pub map_fd: u32,
    pub pad: u32,
    pub key: u64,
    pub value: u64,
    pub flags: u64,
}

#[derive(Default)]
#[repr(C)]
pub struct ProgLoad {
    pub prog_type: u32,
    pub insn_cnt: u32,
    pub insns: u64,
    pub license: u64,
    pub log_level: u32,
    pub log_size: u32,
    pub log_buf: u64,
    pub kern_version: u32,
    pub prog_flags: u32,
    pub prog_name: [u8; OBJ_NAME_LEN],
    pub prog_ifindex: u32,
    pub expected_attach_type: u32,
    pub prog_btf_fd: u32,
    pub func_info_rec_size: u32,
    pub func_info: u64,
    pub func_info_cnt: u32,
    pub line_info_rec_size: u32,
    pub line_info: u64,
    pub line_info_cnt: u32,
    pub attach_btf_id: u32,
    pub attach_btf_obj_fd: u32,
    pub core_relo_cnt: u32,
    pub fd_array: u64,
    pub core_relos: u64,
    pub core_relo_rec_size: u32,
    /// Written by the kernel: the log's whole size with its terminating zero.
    pub log_true_size: u32,
}

#[derive(Default)]
#[repr(C)]
pub struct BtfLoad {
    pub btf: u64,
    pub log_buf: u64,
    pub btf_size: u32,
    pub log_size: u32,
    pub log_level: u32,
    pub log_true_size: u32,
}

#[derive(Default)]
#[repr(C)]
pub struct TestRunAttr {
    pub prog_fd: u32,
    pub retval: u32,
    pub data_size_in: u32,
    pub data_size_out: u32,
    pub data_in: u64,
    pub data_out: u64,
    pub repeat: u32,
    pub duration: u32,
    pub ctx_size_in: u32,
    pub ctx_size_out: u32,
    pub ctx_in: u64,
    pub ctx_out: u64,
    pub flags: u32,
    pub cpu: u32,
    pub batch_size: u32,
    pub pad: u32,
}

#[derive(Default)]
#[repr(C)]
pub struct GetId {
    /// `start_id` or the id asked for.
    pub id: u32,
    pub next_id: u32,
    pub open_flags: u32,
    pub token_fd: u32,
}

#[derive(Default)]
#[repr(C)]
pub struct InfoByFd {
    pub fd: u32,
    pub info_len: u32,
    pub info: u64,
}

/// `struct bpf_btf_info`.
#[derive(Default)]
#[repr(C)]
pub struct BtfInfo {
    pub btf: u64,
    pub btf_size: u32,
    pub id: u32,
    pub name: u64,
    pub name_len: u32,
    pub kernel_btf: u32,
}

/// `struct bpf_prog_info` as far as instructions go.
#[derive(Default)]
#[repr(C)]
pub struct ProgInfo {
    pub prog_type: u32,
    pub id: u32,
    pub tag: [u8; 8],
    pub jited_prog_len: u32,
    pub xlated_prog_len: u32,
    pub jited_prog_insns: u64,
    pub xlated_prog_insns: u64,
}
