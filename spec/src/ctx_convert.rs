//! What accesses to contexts become: the kernel's `*_convert_ctx_access` functions as rows of steps.
//!
//! Knows members of the kernel's structs by name; where they lie is the business of who has the BTF.
//! Rows come from `data/ctx/`.

use crate::callers::Test;
use crate::generated::ctx::CONVERTS;
use crate::kernel::Kernel;
use crate::prog::ProgKind;

/// Width of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wide {
    /// The member's.
    Own,
    /// The access's, at most the member's.
    Access,
    Bytes(u32),
}

/// One step on the way to a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// From the context at first, then from what was loaded.
    Load {
        /// `struct.member.member`; empty for what the pointer points to.
        member: &'static str,
        /// The struct lies in the packet's control block.
        cb: bool,
        /// The offset within the field is added.
        within: bool,
        wide: Wide,
    },
    /// What was loaded is 0: the value is, and no step follows.
    EndIfNull,
    /// Nothing is read or written unless this member of the context is set; a register is borrowed.
    Only(&'static str),
    /// Of 32 bits.
    And(i32),
    Shl(i32),
    Set(i32),
    /// `NO_QUEUE_MAPPING` reads as -1.
    NoQueue,
    /// To `skb_shinfo` of the packet (`bpf_convert_shinfo_access`).
    Shared,
    /// As many bytes of 0.
    Nothing(u32),
    /// No store of `NO_QUEUE_MAPPING` and above.
    QueueMapping,
    /// `bpf_convert_tstamp_read`, `bpf_convert_tstamp_write`
    Tstamp,
    /// `bpf_convert_data_end_access`
    DataEnd,
}

/// The way to the fields in `first..=last`, bytes from the context's start.
#[derive(Clone, Copy, Debug)]
pub struct ConvertRow {
    pub first: i32,
    pub last: i32,
    pub tests: &'static [(bool, Test)],
    pub steps: &'static [Step],
}

/// One `convert_ctx_access` function.
#[derive(Clone, Copy, Debug)]
pub struct Convert {
    pub name: &'static str,
    pub source: &'static str,
    /// Operations of the program types served.
    pub ops: &'static [&'static str],
    /// Member in which a register is kept while it is borrowed.
    pub spare: Option<&'static str>,
    /// Index of the table that has the other fields.
    pub rest: Option<usize>,
    pub rows: &'static [ConvertRow],
}

/// How an access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtxWay {
    pub steps: &'static [Step],
    /// Offset of the access within its row, bytes.
    pub within: i32,
    pub spare: Option<&'static str>,
}

impl Kernel {
    /// How an access to the context at `off` is made in a program of these operations; None where no row says.
    pub fn ctx_way(&self, kind: &ProgKind<'_>, ops: &str, off: i32) -> Option<CtxWay> {
        self.way(kind, CONVERTS.iter().find(|t| t.ops.contains(&ops))?, off)
    }

    /// The same through a pointer to a socket, by the name of the kernel's function.
    pub fn sock_way(&self, kind: &ProgKind<'_>, function: &str, off: i32) -> Option<CtxWay> {
        self.way(kind, CONVERTS.iter().find(|t| t.name == function)?, off)
    }

    fn way(&self, kind: &ProgKind<'_>, table: &Convert, off: i32) -> Option<CtxWay> {
        let fits = |row: &&ConvertRow| {
            (row.first..=row.last).contains(&off)
                && row.tests.iter().all(|(want, test)| self.holds(kind, *test) == *want)
        };
        match table.rows.iter().find(fits) {
            Some(row) => {
                Some(CtxWay { steps: row.steps, within: off - row.first, spare: table.spare })
            }
            None => self.way(kind, CONVERTS.get(table.rest?)?, off),
        }
    }
}
