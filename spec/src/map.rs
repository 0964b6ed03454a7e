//! Map types: what `BPF_MAP_CREATE` accepts.
//!
//! Mirrors `map_create` of `kernel/bpf/syscall.c` and each type's `map_alloc_check` and `map_alloc`.
//! Which helpers and programs may use a map is the verifier's business.  Rows come from `data/maps.toml`.

use crate::generated::maps::MAPS;
use crate::kernel::Kernel;
use crate::prog::Caps;
use crate::uapi::MapType;

const EPERM: i32 = 1;
const EINVAL: i32 = 22;
/// `BPF_F_RDONLY` and `BPF_F_WRONLY`.
const RDONLY_WRONLY: u32 = 1 << 3 | 1 << 4;
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
    /// The arena at its address would cross a 32-bit boundary.
    ArenaCrosses4G,
}

/// Gives the errno when its tests hold: all of them, or any.
#[derive(Clone, Copy, Debug)]
pub struct MapRule {
    pub errno: i32,
    pub all: bool,
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
    /// First match wins.
    pub rules: &'static [MapRule],
}

impl MapInfo {
    /// None for `unspec`.
    pub fn of(map_type: MapType) -> Option<&'static MapInfo> {
        MAPS.iter().find(|m| m.map_type == map_type)
    }
}

impl Kernel {
    /// Positive errno with which the kernel refuses to create a map.  Says nothing of memory,
    /// BTF contents, inner maps or NUMA nodes.
    pub fn map_create(&self, spec: &MapSpec, caps: &Caps) -> Result<(), i32> {
        let extra_allowed = matches!(spec.map_type, MapType::BloomFilter | MapType::Arena);
        if (spec.extra != 0 && !extra_allowed) || spec.flags & RDONLY_WRONLY == RDONLY_WRONLY {
            return Err(EINVAL);
        }
        let Some(info) = MapInfo::of(spec.map_type) else { return Err(EINVAL) };
        if info.config.iter().any(|c| !self.config.has(c)) {
            return Err(EINVAL);
        }
        let holds = |test: &MapTest| self.map_test(spec, *test);
        for rule in info.rules {
            if if rule.all { rule.tests.iter().all(holds) } else { rule.tests.iter().any(holds) } {
                return Err(rule.errno);
            }
        }
        match info.cap {
            MapCap::Bpf if !caps.bpf => Err(EPERM),
            MapCap::NetAdmin if !caps.net_admin => Err(EPERM),
            _ => Ok(()),
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
    fn number(&self, n: MapNumber) -> u64 {
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
