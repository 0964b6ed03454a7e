//! Why an access was refused, and in what words.

use std::fmt;

use super::RegionKind;

/// An access that no region allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub addr: u64,
    pub len: u32,
    pub write: bool,
    pub why: FaultKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    Null,
    /// Not an address of any region: a number used as a pointer, or memory given back.
    NoRegion,
    /// Beside the accessible part; offset from the region's start (the window's for packets).
    OutOfBounds {
        kind: RegionKind,
        off: i64,
        size: u32,
    },
    ReadOnly {
        kind: RegionKind,
    },
    Opaque {
        kind: RegionKind,
    },
    /// A field of a kernel structure that the world does not state.
    Unknown {
        off: u32,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.write { "write" } else { "read" };
        write!(f, "{verb} of {} bytes at {:#x}: ", self.len, self.addr)?;
        match self.why {
            FaultKind::Null => f.write_str("null pointer"),
            FaultKind::NoRegion => f.write_str("no memory there"),
            FaultKind::OutOfBounds { kind, off, size } => {
                write!(f, "offset {off} of {kind}, which has {size} bytes")
            }
            FaultKind::ReadOnly { kind } => write!(f, "{kind} is read-only"),
            FaultKind::Unknown { off } => {
                write!(f, "what a kernel structure has at offset {off} is not modelled")
            }
            FaultKind::Opaque { kind } => write!(f, "{kind} cannot be accessed"),
        }
    }
}
