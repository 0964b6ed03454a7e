//! What return values of programs are called (`XDP_PASS`).

use crate::generated::retvals::RETVALS;
use crate::uapi::ProgType;

fn values(prog_type: ProgType) -> impl Iterator<Item = &'static (i32, &'static str)> {
    RETVALS.iter().filter(move |(types, _)| types.contains(&prog_type)).flat_map(|(_, v)| v.iter())
}

/// The name of what a program of this type returns, where it has one.
pub fn name(prog_type: ProgType, value: u32) -> Option<&'static str> {
    values(prog_type).find(|(n, _)| *n as u32 == value).map(|(_, name)| *name)
}

/// The value with this name, for programs of this type.
pub fn value(prog_type: ProgType, name: &str) -> Option<u32> {
    values(prog_type).find(|(_, n)| *n == name).map(|(value, _)| *value as u32)
}

/// Every name for this type, in the order of their values.
pub fn names(prog_type: ProgType) -> Vec<&'static str> {
    values(prog_type).map(|(_, name)| *name).collect()
}
