//! Why a map is not created, in words, and what the words are about.

use crate::generated::maps::FLAGS;
use crate::map::{Cmp, MapCap, MapFault, MapNumber, MapRefusal, MapSpec, MapTest};

/// What part of a map's definition is at fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MapTopic {
    Type,
    KeySize,
    ValueSize,
    MaxEntries,
    Flags,
    Extra,
    NumaNode,
    /// The types of key and value in the object's BTF.
    Types,
    Capability,
}

/// Names of the `BPF_F_…` bits set in `flags`, joined by `|`; bits without a name as a number.
pub fn flag_names(flags: u32) -> String {
    let mut left = flags;
    let mut out: Vec<String> = Vec::new();
    for (name, bit) in FLAGS {
        if flags & bit != 0 {
            out.push(format!("BPF_F_{name}"));
            left &= !bit;
        }
    }
    if left != 0 || out.is_empty() {
        out.push(format!("{left:#x}"));
    }
    out.join("|")
}

impl MapRefusal {
    /// One line without the errno: what is wrong, and what the type wants.
    pub fn words(&self, spec: &MapSpec) -> String {
        let t = spec.map_type;
        match self.fault {
            MapFault::UnknownType => format!("this kernel has no map type {t}"),
            MapFault::LacksConfig(symbol) => {
                format!("map type {t} needs CONFIG_{symbol}, which this kernel lacks")
            }
            MapFault::ExtraTaken => {
                format!("map_extra is {:#x}, which a map of type {t} does not take", spec.extra)
            }
            MapFault::BothDirections => {
                "map_flags have both BPF_F_RDONLY and BPF_F_WRONLY".to_string()
            }
            MapFault::NodeOffline => "the NUMA node is not online on this machine".to_string(),
            MapFault::Capability(MapCap::NetAdmin) => format!("map type {t} needs CAP_NET_ADMIN"),
            MapFault::Capability(_) => format!("map type {t} needs CAP_BPF"),
            MapFault::Tests(tests) => {
                let words: Vec<String> = tests.iter().map(|t| test_words(spec, *t)).collect();
                words.join(", and ")
            }
        }
    }

    /// What the words are about.
    pub fn topic(&self) -> MapTopic {
        match self.fault {
            MapFault::UnknownType | MapFault::LacksConfig(_) => MapTopic::Type,
            MapFault::ExtraTaken => MapTopic::Extra,
            MapFault::BothDirections => MapTopic::Flags,
            MapFault::NodeOffline => MapTopic::NumaNode,
            MapFault::Capability(_) => MapTopic::Capability,
            MapFault::Tests(tests) => tests.last().map_or(MapTopic::Type, |t| test_topic(*t)),
        }
    }
}

fn test_topic(test: MapTest) -> MapTopic {
    match test {
        MapTest::Cmp(n, ..)
        | MapTest::NotIn(n, _)
        | MapTest::NotPowerOfTwo(n)
        | MapTest::NotMultiple(n, _) => match n {
            MapNumber::Key => MapTopic::KeySize,
            MapNumber::Value | MapNumber::ValueRound8 | MapNumber::KeyPlusValue => {
                MapTopic::ValueSize
            }
            MapNumber::Entries => MapTopic::MaxEntries,
            MapNumber::Extra => MapTopic::Extra,
        },
        MapTest::FlagsOutside(_)
        | MapTest::FlagsAny(_)
        | MapTest::FlagsBoth(_)
        | MapTest::FlagsLack(_) => MapTopic::Flags,
        MapTest::NoBtfKey | MapTest::NoBtfValue | MapTest::NoBtfVmlinuxValue => MapTopic::Types,
        MapTest::AboveCpus | MapTest::EntriesFillU32 => MapTopic::MaxEntries,
        MapTest::NoArenaJit => MapTopic::Type,
        MapTest::ArenaCrosses4G => MapTopic::Extra,
    }
}

fn test_words(spec: &MapSpec, test: MapTest) -> String {
    let t = spec.map_type;
    match test {
        MapTest::Cmp(n, cmp, with) => {
            let (name, is) = (number_name(n), spec.number(n));
            match (cmp, with) {
                (Cmp::Ne, 0) => format!("{name} is {is}; a map of type {t} takes none (0)"),
                (Cmp::Ne, with) => {
                    format!("{name} is {is}, not {with} as a map of type {t} wants it")
                }
                (Cmp::Eq, with) => format!("{name} is {with}"),
                (Cmp::Lt, with) => format!("{name} is {is}, less than {with}"),
                (Cmp::Gt, with) => {
                    format!("{name} is {is}, more than the {with} that a map of type {t} takes")
                }
                (Cmp::Ge, with) => {
                    format!(
                        "{name} is {is}, more than the {} that a map of type {t} takes",
                        with.saturating_sub(1)
                    )
                }
            }
        }
        MapTest::NotIn(n, list) => {
            let list: Vec<String> = list.iter().map(u64::to_string).collect();
            format!(
                "{} is {}, not {} as a map of type {t} wants it",
                number_name(n),
                spec.number(n),
                list.join(" or ")
            )
        }
        MapTest::NotPowerOfTwo(n) => {
            format!("{} is {}, no power of two", number_name(n), spec.number(n))
        }
        MapTest::NotMultiple(n, of) => {
            format!("{} is {}, no multiple of {of}", number_name(n), spec.number(n))
        }
        MapTest::FlagsOutside(mask) => {
            format!(
                "map_flags have {}, which a map of type {t} does not take",
                flag_names(spec.flags & !mask)
            )
        }
        MapTest::FlagsAny(mask) => {
            format!(
                "map_flags have {}, which a map of type {t} does not take",
                flag_names(spec.flags & mask)
            )
        }
        MapTest::FlagsBoth(mask) => format!("map_flags have both of {}", flag_names(mask)),
        MapTest::FlagsLack(mask) => {
            format!(
                "map_flags lack {}, which a map of type {t} must have",
                flag_names(mask & !spec.flags)
            )
        }
        MapTest::NoBtfKey => format!("a map of type {t} needs BTF that names the type of its key"),
        MapTest::NoBtfValue => {
            format!("a map of type {t} needs BTF that names the type of its value")
        }
        MapTest::NoBtfVmlinuxValue => {
            format!("a map of type {t} needs a struct of the kernel for its value")
        }
        MapTest::AboveCpus => {
            format!("max_entries is {}, more than this kernel's NR_CPUS", spec.max_entries)
        }
        MapTest::EntriesFillU32 => format!(
            "max_entries {} of {} bytes are 4 GiB or more",
            spec.max_entries, spec.value_size
        ),
        MapTest::NoArenaJit => "this kernel's JIT has no arenas".to_string(),
        MapTest::ArenaCrosses4G => {
            format!(
                "an arena of {} pages at {:#x} would cross a multiple of 4 GiB",
                spec.max_entries, spec.extra
            )
        }
    }
}

fn number_name(n: MapNumber) -> &'static str {
    match n {
        MapNumber::Key => "key_size",
        MapNumber::Value => "value_size",
        MapNumber::Entries => "max_entries",
        MapNumber::Extra => "map_extra",
        MapNumber::KeyPlusValue => "key_size and value_size together",
        MapNumber::ValueRound8 => "value_size (rounded up to 8)",
    }
}
