//! Objects a program allocates: `bpf_obj_new`, per-CPU objects, CPU masks.
//!
//! An object is a region of its own, found by any address inside it.  What its
//! type owns (lists, trees, kernel pointers) goes with it.  Mirrors
//! `__bpf_obj_drop_impl` and `bpf_obj_free_fields` (kernel/bpf/helpers.c, syscall.c);
//! memory is given back at once, where the kernel waits for a grace period.

use std::collections::BTreeMap;

use bpfassay_isa::Size;

use super::graph;
use super::memory::{Access, Region, RegionId, RegionKind};
use super::types::{Field, FieldKind};
use super::{Runtime, Stop};
use crate::engine::TrapKind;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// Of this type of the program.
    Local(u32),
    /// One copy for each CPU, this far apart.
    PerCpu { stride: u32 },
    /// `struct bpf_cpumask`, counted.
    CpuMask,
}

/// An object.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    pub kind: ObjectKind,
    pub size: u32,
    region: RegionId,
    /// References to a kernel object; local ones count in their own field.
    pub refs: u32,
}

/// All objects, by address.
#[derive(Default, Debug)]
pub struct Objects(BTreeMap<u64, Object>);

impl Objects {
    /// The object an address lies in, and where it begins.
    pub fn find(&self, addr: u64) -> Option<(u64, &Object)> {
        let (start, o) = self.0.range(..=addr).next_back()?;
        (addr - start < u64::from(o.size.max(1))).then_some((*start, o))
    }

    pub fn find_mut(&mut self, addr: u64) -> Option<(u64, &mut Object)> {
        let (start, o) = self.0.range_mut(..=addr).next_back()?;
        (addr - start < u64::from(o.size.max(1))).then_some((*start, o))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Runtime {
    /// Allocates zeroed memory for an object.
    pub fn allocate(&mut self, kind: ObjectKind, size: u32) -> Result<u64, Stop> {
        let bytes = vec![0; size as usize];
        let region = Region::new(RegionKind::Object, Access::ReadWrite, bytes);
        let id = self.mem.add(region).ok_or(TrapKind::Unsupported("this many objects"))?;
        let addr = self.address(id, 0);
        self.objects.0.insert(addr, Object { kind, size, region: id, refs: 1 });
        if let ObjectKind::Local(t) = kind {
            for f in self.types.fields(t) {
                graph::init(self, addr + u64::from(f.off), f.kind)?;
            }
        }
        Ok(addr)
    }

    /// Gives up one reference; the last one frees the object and what it owns.
    pub fn drop_object(&mut self, addr: u64) -> Result<(), Stop> {
        // A list can be as long as memory allows, so what is owned waits here, not on the stack.
        let mut pending = vec![addr];
        while let Some(addr) = pending.pop() {
            let found = self.objects.find_mut(addr).map(|(start, o)| {
                o.refs = o.refs.saturating_sub(1);
                (start, *o)
            });
            let Some((start, object)) = found else { continue };
            if let ObjectKind::Local(t) = object.kind {
                let fields = self.types.fields(t);
                if let Some(f) = fields.iter().find(|f| f.kind == FieldKind::Refcount) {
                    let at = start + u64::from(f.off);
                    let left = (self.mem.load(at, Size::W)? as u32).saturating_sub(1);
                    self.mem.store(at, Size::W, u64::from(left))?;
                    if left != 0 {
                        continue;
                    }
                }
                self.release_fields(start, &fields, &mut pending)?;
            } else if object.refs > 0 {
                continue;
            }
            self.objects.0.remove(&start);
            self.mem.release(object.region);
        }
        Ok(())
    }

    /// Takes out what the special fields of the value at this address own, into `owned`.
    pub fn release_fields(
        &mut self,
        value: u64,
        fields: &[Field],
        owned: &mut Vec<u64>,
    ) -> Result<(), Stop> {
        for f in fields {
            let at = value + u64::from(f.off);
            match f.kind {
                FieldKind::ListHead => owned.extend(graph::drain_list(self, at)?),
                FieldKind::RbRoot => owned.extend(graph::drain_tree(self, at)?),
                FieldKind::Kptr => {
                    let kptr = self.mem.load(at, Size::Dw)?;
                    self.mem.store(at, Size::Dw, 0)?;
                    if kptr != 0 {
                        owned.push(kptr);
                    }
                }
                FieldKind::Timer | FieldKind::WorkQueue => self.asyncs.forget(at),
                FieldKind::Uncounted => self.mem.store(at, Size::Dw, 0)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Frees what the special fields of a map's value own (`bpf_obj_free_fields`).
    pub fn free_fields(&mut self, value: u64, fields: &[Field]) -> Result<(), Stop> {
        let mut owned = Vec::new();
        self.release_fields(value, fields, &mut owned)?;
        owned.into_iter().try_for_each(|o| self.drop_object(o))
    }
}
