//! What a loader hands to the kernel, as plain values: no ELF in here.
//!
//! A [`Program`] is one `bpf(BPF_PROG_LOAD)` call after libbpf has done its work:
//! subprograms appended, relocations and CO-RE applied.  Where the system call
//! takes file descriptors, it holds indices into [`Program::maps`] and
//! [`Program::btfs`] instead.

use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_spec::{AttachType, MapType, ProgType};

use crate::btf::Btf;
use crate::debug::Debug;

/// One program, judged as if loaded alone.
#[derive(Clone, Debug)]
pub struct Program {
    /// The C function's name; the kernel sees its first 15 bytes.
    pub name: String,
    /// ELF section the entry function stands in.
    pub section: String,
    pub prog_type: ProgType,
    pub expected_attach_type: Option<AttachType>,
    /// For programs attached by BTF (fentry, lsm, tp_btf, iter, struct_ops, freplace).
    pub attach_target: Option<AttachTarget>,
    /// Instruction slots.  LD_IMM64 of a map has its index into `maps` in `imm`
    /// (`BPF_PSEUDO_MAP_FD`/`MAP_VALUE`); a BTF descriptor (`fd_array` index of a
    /// kfunc call, `imm` of the second slot of `BPF_PSEUDO_BTF_ID`) is an index
    /// into `btfs`, 0 meaning vmlinux.  A descriptor that the object wrote itself is
    /// neither: [`written_descriptor`].
    pub insns: Vec<RawInsn>,
    /// Licence string; empty when the object has none.
    pub license: String,
    /// Every map of the object, used or not, and behind them the program's own jump tables; instructions index it.
    pub maps: Arc<Vec<MapDef>>,
    /// The object's own BTF as it would be loaded, if any.
    pub btf: Option<Arc<Btf>>,
    /// Kernel BTFs beside vmlinux that instructions refer to; index 0 is vmlinux and always present as a placeholder.
    pub btfs: Vec<KernelBtfRef>,
    /// `bpf_func_info` records, ascending by `insn_off`.
    pub func_info: Vec<FuncInfo>,
    /// `bpf_line_info` records, ascending by `insn_off`.
    pub line_info: Vec<LineInfo>,
    pub flags: ProgFlags,
    /// Kernel version attribute of old kprobe programs.
    pub kern_version: u32,
    /// Names, sections and lines for people: where each slot came from.
    pub subprogs: Vec<SubprogOrigin>,
    /// Things the loader decided on its own that change what is judged, for the report.
    pub notes: Vec<String>,
    /// Places this program needs facts that the profile lacks; not empty means unsupported.
    pub missing: Vec<String>,
    /// The object's DWARF, which names variables for people.
    pub debug: Option<Arc<Debug>>,
}

impl Program {
    /// A GPL program of nothing but instructions: no section, map, BTF, flag or note.
    pub fn bare(name: impl Into<String>, prog_type: ProgType, insns: Vec<RawInsn>) -> Program {
        Program {
            name: name.into(),
            section: String::new(),
            prog_type,
            expected_attach_type: None,
            attach_target: None,
            insns,
            license: "GPL".to_string(),
            maps: Arc::new(Vec::new()),
            btf: None,
            btfs: vec![KernelBtfRef::Vmlinux],
            func_info: Vec::new(),
            line_info: Vec::new(),
            flags: ProgFlags::default(),
            kern_version: 0,
            subprogs: Vec::new(),
            notes: Vec::new(),
            missing: Vec::new(),
            debug: None,
        }
    }
}

/// `prog_flags` of BPF_PROG_LOAD.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ProgFlags {
    /// BPF_F_STRICT_ALIGNMENT
    pub strict_alignment: bool,
    /// BPF_F_ANY_ALIGNMENT
    pub any_alignment: bool,
    /// BPF_F_TEST_RND_HI32
    pub test_rnd_hi32: bool,
    /// BPF_F_TEST_STATE_FREQ
    pub test_state_freq: bool,
    /// BPF_F_SLEEPABLE
    pub sleepable: bool,
    /// BPF_F_XDP_HAS_FRAGS
    pub xdp_has_frags: bool,
    /// BPF_F_XDP_DEV_BOUND_ONLY
    pub xdp_dev_bound_only: bool,
    /// BPF_F_TEST_REG_INVARIANTS
    pub test_reg_invariants: bool,
}

impl ProgFlags {
    /// As `prog_flags` has them.
    pub fn bits(self) -> u32 {
        let ProgFlags {
            strict_alignment,
            any_alignment,
            test_rnd_hi32,
            test_state_freq,
            sleepable,
            xdp_has_frags,
            xdp_dev_bound_only,
            test_reg_invariants,
        } = self;
        let flags = [
            strict_alignment,
            any_alignment,
            test_rnd_hi32,
            test_state_freq,
            sleepable,
            xdp_has_frags,
            xdp_dev_bound_only,
            test_reg_invariants,
        ];
        flags.into_iter().enumerate().fold(0, |bits, (n, on)| bits | u32::from(on) << n)
    }

    /// With these bits of `prog_flags` as well.
    pub fn with_bits(self, bits: u32) -> ProgFlags {
        let on = |n: u32| bits & 1 << n != 0;
        ProgFlags {
            strict_alignment: self.strict_alignment || on(0),
            any_alignment: self.any_alignment || on(1),
            test_rnd_hi32: self.test_rnd_hi32 || on(2),
            test_state_freq: self.test_state_freq || on(3),
            sleepable: self.sleepable || on(4),
            xdp_has_frags: self.xdp_has_frags || on(5),
            xdp_dev_bound_only: self.xdp_dev_bound_only || on(6),
            test_reg_invariants: self.test_reg_invariants || on(7),
        }
    }
}

/// What a program attached by BTF names.
#[derive(Clone, Debug)]
pub struct AttachTarget {
    /// Name in the section or set by the person (`tcp_connect`, `bpf_map`, `sched_switch`).
    pub name: String,
    /// Type id in the kernel BTF below (function, typedef or struct), or in the BTF of the program below; 0 when it
    /// was not found.
    pub btf_id: u32,
    /// Index into [`Program::btfs`].
    pub btf: u32,
    /// struct_ops: index of the member the program fills (`expected_attach_type` of the system call).
    pub member: Option<u32>,
    /// The program whose function it is (`attach_prog_fd`); None for what is the kernel's.
    pub program: Option<Arc<Program>>,
}

/// Which kernel BTF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelBtfRef {
    Vmlinux,
    /// A module by name.
    Module(String),
}

/// `struct bpf_func_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncInfo {
    /// Instruction slot the function starts at.
    pub insn_off: u32,
    /// BTF_KIND_FUNC in the program's BTF.
    pub type_id: u32,
}

/// `struct bpf_line_info`; string offsets are into the program's BTF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineInfo {
    pub insn_off: u32,
    pub file_name_off: u32,
    pub line_off: u32,
    /// `line << 10 | column`.
    pub line_col: u32,
}

/// Where a run of slots came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubprogOrigin {
    pub name: String,
    /// First slot in the linked program.
    pub insn_off: u32,
    /// Slots taken.
    pub insn_cnt: u32,
    /// ELF section it was read from and first slot there.
    pub section: String,
    pub section_insn_off: u32,
    /// True for a global (non-static, not `__hidden`) function.
    pub is_global: bool,
}

/// How a descriptor that the object wrote itself stands where an index would: negative, so that it is none.
/// [`as_written`] gives it back, for all descriptors below 2^30 and all negative ones from -2^30 on.
pub fn written_descriptor(fd: i32) -> i32 {
    fd | i32::MIN
}

/// The descriptor behind [`written_descriptor`].
pub fn as_written(marked: i32) -> i32 {
    const WAS_NEGATIVE: i32 = 1 << 30;
    if marked & WAS_NEGATIVE != 0 {
        marked
    } else {
        marked & i32::MAX
    }
}

/// A map as it would be created.
#[derive(Clone, Debug)]
pub struct MapDef {
    /// As the kernel's log shows it: cut to 15 bytes, data sections as `obj.rodata`.
    pub name: String,
    /// Name of the C variable or section.
    pub source_name: String,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    /// `BPF_F_…` of map creation.
    pub map_flags: u32,
    pub map_extra: u64,
    /// Looked at where `map_flags` have `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// BTF ids of key and value in the program's BTF, 0 for none.
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    /// struct_ops maps: id of the kernel's wrapper struct.
    pub btf_vmlinux_value_type_id: u32,
    /// Maps of maps: the inner map.
    pub inner: Option<Box<MapDef>>,
    /// Global data: initial contents, `value_size` bytes (shorter means zero-filled).
    pub initial: Option<Arc<Vec<u8>>>,
    /// Instruction arrays that the loader fills: the slot that each element names.
    pub targets: Option<Arc<Vec<u32>>>,
    /// Frozen by the loader (`.rodata`, `.kconfig`, jump tables): contents are known to the verifier.
    pub frozen: bool,
    /// False for maps that libbpf does not create unless asked to (`SEC("?.struct_ops")`).
    pub autocreate: bool,
    /// Why the loader cannot read the definition; the rest of it then says nothing.
    pub refused: Option<String>,
    /// Sizes above that the definition leaves 0, and that stand for what an application would set before loading.
    pub unset: Unset,
}

/// Sizes that a map's definition leaves to the application.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unset {
    pub value_size: bool,
    pub max_entries: bool,
}

impl MapDef {
    /// A map without sizes, flags, types or contents.
    pub fn bare(name: &str, source_name: &str, map_type: MapType) -> MapDef {
        MapDef {
            name: name.to_string(),
            source_name: source_name.to_string(),
            map_type,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            map_flags: 0,
            map_extra: 0,
            numa_node: 0,
            btf_key_type_id: 0,
            btf_value_type_id: 0,
            btf_vmlinux_value_type_id: 0,
            inner: None,
            initial: None,
            targets: None,
            frozen: false,
            autocreate: true,
            refused: None,
            unset: Unset::default(),
        }
    }

    /// `BPF_F_INNER_MAP`.
    pub const F_INNER_MAP: u32 = 1 << 12;

    /// The definition itself: sizes that were [`Unset`] are 0 again.
    pub fn as_defined(&self) -> MapDef {
        let mut def = self.clone();
        if def.unset.value_size {
            def.value_size = 0;
        }
        if def.unset.max_entries {
            def.max_entries = 0;
        }
        def
    }

    /// `BPF_F_RDONLY_PROG`.
    pub const F_RDONLY_PROG: u32 = 1 << 7;
    /// `BPF_F_WRONLY_PROG`.
    pub const F_WRONLY_PROG: u32 = 1 << 8;
}
