//! Helpers: what the kernel's functions do, by name.
//!
//! A helper that is not here stops the run with its name; none returns a
//! made-up value.  Files follow the kernel's: `map` and `time` mirror
//! kernel/bpf/helpers.c, `ring` kernel/bpf/ringbuf.c, `trace` and `task`
//! kernel/trace/bpf_trace.c, `packet`, `skb`, `route` and `socket` net/core/filter.c.

mod dynptr;
mod format;
mod kfuncs;
mod map;
mod packet;
mod ring;
mod route;
mod skb;
mod socket;
mod task;
mod text;
mod time;
mod trace;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bpfassay_spec::helper::func_id_name;

use super::memory::{Memory, RegionKind};
use super::{Callbacks, Runtime, Stop};
use crate::engine::TrapKind;

/// One call: the runtime, the way back into the program, the helper's own name.
pub struct Call<'a> {
    pub rt: &'a mut Runtime,
    pub callbacks: &'a mut dyn Callbacks,
    pub name: &'static str,
}

/// A helper: r1 to r5 in, r0 out.
pub type Helper = fn(&mut Call<'_>, [u64; 5]) -> Result<u64, Stop>;

/// The helpers a program may call by number.
#[derive(Clone)]
pub enum HelperSet {
    /// Linux numbers.
    Linux(Arc<HashMap<&'static str, Helper>>),
    /// The conformance suite's: number 5 returns its argument and ends the run where that is 0.
    Conformance,
}

impl HelperSet {
    pub fn linux() -> HelperSet {
        static ALL: OnceLock<Arc<HashMap<&'static str, Helper>>> = OnceLock::new();
        let all = || {
            let tables = [
                map::TABLE,
                time::TABLE,
                trace::TABLE,
                ring::TABLE,
                dynptr::TABLE,
                packet::TABLE,
                skb::TABLE,
                text::TABLE,
                task::TABLE,
                route::TABLE,
                socket::TABLE,
            ];
            Arc::new(tables.into_iter().flatten().copied().collect())
        };
        HelperSet::Linux(ALL.get_or_init(all).clone())
    }

    pub fn is_linux(&self) -> bool {
        matches!(self, HelperSet::Linux(_))
    }

    /// Name and function of a helper number.
    pub fn resolve(&self, id: i64) -> Result<(&'static str, Helper), Stop> {
        match self {
            HelperSet::Linux(table) => {
                let name = i32::try_from(id).map_or("unknown", func_id_name);
                match table.get(name) {
                    Some(f) => Ok((name, *f)),
                    None => Err(TrapKind::UnsupportedHelper(format!("{name}#{id}")).into()),
                }
            }
            HelperSet::Conformance if id == UNWIND => Ok(("unwind", unwind)),
            HelperSet::Conformance => Err(TrapKind::UnsupportedHelper(format!("#{id}")).into()),
        }
    }

    /// The kernel function of this name, with its name for good.
    pub fn kfunc(name: &str) -> Option<(&'static str, Helper)> {
        kfuncs::TABLES.iter().copied().flatten().find(|(n, _)| *n == name).copied()
    }

    /// Names of everything modelled, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            HelperSet::Linux(table) => {
                let mut names: Vec<_> = table.keys().copied().collect();
                names.sort_unstable();
                names
            }
            HelperSet::Conformance => vec!["unwind"],
        }
    }
}

/// The suite's helper that unwinds the stack.
const UNWIND: i64 = 5;

fn unwind(_: &mut Call<'_>, args: [u64; 5]) -> Result<u64, Stop> {
    match args[0] {
        0 => Err(Stop::Exit(0)),
        v => Ok(v),
    }
}

/// A result as the kernel's `int` or `long` helpers return it.
fn number(v: i64) -> Result<u64, Stop> {
    Ok(v as u64)
}

impl Call<'_> {
    fn bad(&self, what: &'static str) -> Stop {
        TrapKind::BadArgument { helper: self.name, what }.into()
    }

    /// Index of the map whose address this is.
    fn map(&self, addr: u64) -> Result<usize, Stop> {
        match self.rt.mem.kind_at(addr) {
            Some((RegionKind::Map(i), 0)) => Ok(i as usize),
            _ => Err(self.bad("not a map")),
        }
    }

    /// Key and value sizes of a map.
    fn sizes(&self, map: usize) -> Result<(u32, u32), Stop> {
        let map = self.rt.maps.get(map).ok_or_else(|| self.bad("not a map"))?;
        Ok((map.shape().key_size, map.shape().value_size))
    }

    /// A copy of program memory.
    fn bytes(&self, addr: u64, len: u32) -> Result<Vec<u8>, Stop> {
        if len == 0 {
            return Ok(Vec::new());
        }
        Ok(self.rt.mem.slice(addr, len)?.to_vec())
    }

    /// A copy of memory at any number taken for an address; None where it cannot be read.
    fn probe(&self, addr: u64, len: u32) -> Option<Vec<u8>> {
        if len == 0 {
            return Some(Vec::new());
        }
        self.rt.mem.probe(addr, len).ok().map(<[u8]>::to_vec)
    }

    /// Writes program memory.
    fn put(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(bytes.len()).map_err(|_| self.bad("too long"))?;
        self.rt.mem.slice_mut(addr, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// A size argument: the kernel's helpers take 32 bits of it.
    fn len(&self, arg: u64) -> u32 {
        arg as u32
    }

    /// Bytes up to and without the first zero; all that can be read where there is none.
    fn c_string(&self, addr: u64) -> Vec<u8> {
        let all = self.rt.mem.readable(addr);
        let end = all.iter().position(|b| *b == 0).unwrap_or(all.len());
        all.get(..end).unwrap_or(&[]).to_vec()
    }

    fn mem(&self) -> &Memory {
        &self.rt.mem
    }
}
