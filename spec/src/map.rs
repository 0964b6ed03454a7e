//! Map types: what `BPF_MAP_CREATE` accepts.
//!
//! Mirrors `map_create` of `kernel/bpf/syscall.c` and each type's `map_alloc_check` and `map_alloc`.
//! Which helpers and programs may use a map is the verifier's business.  Rows come from `data/maps.toml`.

use crate::generated::maps::MAPS;
use crate::kernel::Kernel;
use crate::prog::Caps;
use crate::release::Span;
use crate::uapi::MapType;
use crate::view::RowKind;

pub use crate::map_words::MapTopic;

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
/// `BPF_F_RDONLY` and `BPF_F_WRONLY`.
const RDONLY_WRONLY: u32 = 1 << 3 | 1 << 4;
/// `BPF_F_NUMA_NODE`.
const NUMA_NODE: u32 = 1 << 2;
const PAGE_SIZE: u64 = 4096;

/// A map as the system call would be asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapSpec {
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    /// `BPF_F_…`.
    pub flags: u32,
    pub extra: u64,
    /// BTF ids given for key, value, and (struct_ops) the kernel's value type.
    pub has_btf_key: bool,
    pub has_btf_value: bool,
    pub has_btf_vmlinux_value: bool,
    /// The NUMA node that `BPF_F_NUMA_NODE` asks for is there; without effect where the flag is not set.
    pub node_is_online: bool,
}

/// A number that a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapNumber {
    Key,
    Value,
    Entries,
    Extra,
    KeyPlusValue,
    ValueRound8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cmp {
    Eq,
    Ne,
    Lt,
    Gt,
    Ge,
}

/// One condition of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapTest {
    Cmp(MapNumber, Cmp, u64),
    NotIn(MapNumber, &'static [u64]),
    NotPowerOfTwo(MapNumber),
    NotMultiple(MapNumber, u64),
    FlagsOutside(u32),
    FlagsAny(u32),
    FlagsBoth(u32),
    FlagsLack(u32),
    NoBtfKey,
    NoBtfValue,
    NoBtfVmlinuxValue,
    /// More entries than the kernel can have processors (`NR_CPUS`).
    AboveCpus,
    /// Entries times value size reach 32 bits.
    EntriesFillU32,
    /// The JIT has no arenas.
    NoArenaJit,
    /// The arena at its address would cross a 32-bit boundary.
    ArenaCrosses4G,
}

/// Gives the errno when its tests hold: all of them, or any.
#[derive(Clone, Copy, Debug)]
pub struct MapRule {
    pub errno: i32,
    pub all: bool,
    /// Releases in which it stands.
    pub span: Span,
    pub tests: &'static [MapTest],
}

/// Capability to create a map beside the right to use BPF at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapCap {
    None,
    Bpf,
    NetAdmin,
}

/// A map type.
#[derive(Clone, Copy, Debug)]
pub struct MapInfo {
    pub map_type: MapType,
    /// The kernel's `bpf_map_ops`.
    pub ops: &'static str,
    /// Configuration symbols without which the type is unknown.
    pub config: &'static [&'static str],
    pub cap: MapCap,
    /// What the key's BTF type must be.
    pub key: KeyRule,
    pub fields: MapFields,
    pub inner: InnerRule,
    /// First match wins.
    pub rules: &'static [MapRule],
}

/// What a map type wants of its key's BTF type (`map_check_btf` and that of its operations).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyRule {
    /// Any, but there must be one.
    Any,
    /// Integer of 4 bytes.
    Int4,
    /// Integer of 4 bytes; a data section (one entry) has none.
    Index,
    Struct,
    /// There must be none.
    Void,
    /// Integer of 8 bytes, or inode and attach type.
    CgroupStorage,
    /// The type takes no BTF at all.
    Never,
}

/// Classes of special fields that the values of a map type may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapFields(pub(crate) u8);

impl MapFields {
    /// `bpf_spin_lock`, `bpf_res_spin_lock`.
    pub const LOCK: MapFields = MapFields(1 << 0);
    /// `bpf_timer`, `bpf_wq`, `bpf_task_work`.
    pub const ASYNC: MapFields = MapFields(1 << 1);
    /// Kptrs of every kind, `bpf_refcount`.
    pub const KPTR: MapFields = MapFields(1 << 2);
    pub const UPTR: MapFields = MapFields(1 << 3);
    /// `bpf_list_head`, `bpf_rb_root`.
    pub const GRAPH: MapFields = MapFields(1 << 4);

    pub fn has(self, class: MapFields) -> bool {
        self.0 & class.0 != 0
    }
}

/// What a map must share with the template of a map of maps to be put into it (`map_meta_equal`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InnerRule {
    /// Cannot be an inner map.
    No,
    /// Type, sizes, flags and special fields.
    Equal,
    /// Entries too.
    Entries,
    /// Entries too, but with `BPF_F_INNER_MAP`.
    Array,
}

/// Why a map is not created, and the errno that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRefusal {
    /// Positive.
    pub errno: i32,
    pub fault: MapFault,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapFault {
    /// The kernel has no such type: not at all, or not in this configuration.
    UnknownType,
    LacksConfig(&'static str),
    ExtraTaken,
    BothDirections,
    NodeOffline,
    /// The tests of a rule, all of which hold, or the one that does.
    Tests(&'static [MapTest]),
    Capability(MapCap),
}

impl MapInfo {
    /// None for `unspec`.
    pub fn of(map_type: MapType) -> Option<&'static MapInfo> {
        MAPS.iter().find(|m| m.map_type == map_type)
    }
}

impl MapType {
    /// A map whose values are maps.
    pub fn is_of_maps(self) -> bool {
        matches!(self, MapType::ArrayOfMaps | MapType::HashOfMaps)
    }
}

impl Kernel {
    /// Why the kernel refuses to create a map, if it does.  Says nothing of memory, names, BTF contents or inner maps.
    pub fn map_create(&self, spec: &MapSpec, caps: &Caps) -> Result<(), MapRefusal> {
        let refused = |fault| Err(MapRefusal { errno: EINVAL, fault });
        if spec.extra != 0 && !matches!(spec.map_type, MapType::BloomFilter | MapType::Arena) {
            return refused(MapFault::ExtraTaken);
        }
        if spec.flags & RDONLY_WRONLY == RDONLY_WRONLY {
            return refused(MapFault::BothDirections);
        }
        if spec.flags & NUMA_NODE != 0 && !spec.node_is_online {
            return refused(MapFault::NodeOffline);
        }
        let info = self.map_use(spec.map_type).and_then(|row| MapInfo::of(row.map_type));
        let Some(info) = info else { return refused(MapFault::UnknownType) };
        if let Some(symbol) = info.config.iter().find(|c| !self.config.has(c)) {
            return refused(MapFault::LacksConfig(symbol));
        }
        for rule in info
            .rules
            .iter()
            .filter(|r| self.tables.view.holds(RowKind::MapRule, info.map_type.name(), &r.span))
        {
            let first = rule.tests.iter().position(|t| self.map_test(spec, *t));
            let holds = match rule.all {
                true if rule.tests.iter().all(|t| self.map_test(spec, *t)) => rule.tests,
                false => first.and_then(|i| rule.tests.get(i..=i)).unwrap_or(&[]),
                true => &[],
            };
            if !holds.is_empty() {
                return Err(MapRefusal { errno: rule.errno, fault: MapFault::Tests(holds) });
            }
        }
        match info.cap {
            MapCap::Bpf if caps.bpf => Ok(()),
            MapCap::NetAdmin if caps.net_admin => Ok(()),
            MapCap::None => Ok(()),
            cap => Err(MapRefusal { errno: EPERM, fault: MapFault::Capability(cap) }),
        }
    }

    fn map_test(&self, spec: &MapSpec, test: MapTest) -> bool {
        match test {
            MapTest::Cmp(n, cmp, with) => {
                let n = spec.number(n);
                match cmp {
                    Cmp::Eq => n == with,
                    Cmp::Ne => n != with,
                    Cmp::Lt => n < with,
                    Cmp::Gt => n > with,
                    Cmp::Ge => n >= with,
                }
            }
            MapTest::NotIn(n, list) => !list.contains(&spec.number(n)),
            MapTest::NotPowerOfTwo(n) => !spec.number(n).is_power_of_two(),
            MapTest::NotMultiple(n, of) => !spec.number(n).is_multiple_of(of.max(1)),
            MapTest::FlagsOutside(mask) => spec.flags & !mask != 0,
            MapTest::FlagsAny(mask) => spec.flags & mask != 0,
            MapTest::FlagsBoth(mask) => spec.flags & mask == mask,
            MapTest::FlagsLack(mask) => spec.flags & mask != mask,
            MapTest::NoBtfKey => !spec.has_btf_key,
            MapTest::NoBtfValue => !spec.has_btf_value,
            MapTest::NoBtfVmlinuxValue => !spec.has_btf_vmlinux_value,
            MapTest::AboveCpus => spec.max_entries > self.nr_cpus,
            MapTest::EntriesFillU32 => {
                let most = u64::from(u32::MAX).checked_div(u64::from(spec.value_size));
                most.is_some_and(|m| u64::from(spec.max_entries) >= m)
            }
            MapTest::NoArenaJit => !self.jit.arena,
            MapTest::ArenaCrosses4G => {
                let last = spec
                    .extra
                    .wrapping_add(u64::from(spec.max_entries) * PAGE_SIZE)
                    .wrapping_sub(1);
                spec.extra >> 32 != last >> 32
            }
        }
    }
}

impl MapSpec {
    /// A map of nothing but a type: no sizes, flags or BTF.
    pub fn bare(map_type: MapType) -> MapSpec {
        MapSpec {
            map_type,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            flags: 0,
            extra: 0,
            has_btf_key: false,
            has_btf_value: false,
            has_btf_vmlinux_value: false,
            node_is_online: true,
        }
    }

    pub(crate) fn number(&self, n: MapNumber) -> u64 {
        let value = u64::from(self.value_size);
        match n {
            MapNumber::Key => u64::from(self.key_size),
            MapNumber::Value => value,
            MapNumber::Entries => u64::from(self.max_entries),
            MapNumber::Extra => self.extra,
            MapNumber::KeyPlusValue => u64::from(self.key_size) + value,
            MapNumber::ValueRound8 => value.div_ceil(8) * 8,
        }
    }
}
