//! Memory a program may touch: numbered regions behind tagged or native addresses.
//!
//! In checked mode an address is `TAG | region << 32 | offset`.  It looks like a
//! kernel address (negative as a signed number, never null), finds its region
//! without a search, and an overflow of one region can never reach another.
//!
//! In native mode ([`Memory::native`]) it is where the byte really stands, and
//! accesses are made without looking: engines without run-time checks run there,
//! with programs the verifier accepted.  Packets lie below 4 GiB, so that the
//! 32-bit fields of a context hold their addresses.  What stands for something
//! that is never accessed (a map, a function) keeps its tagged address.
//!
//! Knows no instruction and no helper.
#![allow(unsafe_code)]

mod bytes;
mod fault;

use std::collections::BTreeMap;
use std::fmt;

use bpfassay_isa::Size;

use bytes::{array, little_endian, put};
pub use fault::{Fault, FaultKind};

use super::arena::Arena;
use super::buffer::Buffer;

/// High bits of every address; the bits below hold region (15) and offset (32).
const TAG: u64 = 0xffff_8000_0000_0000;
const MAX_REGIONS: usize = 1 << 15;
/// Addresses below this are a null pointer with an offset.
const NULL_PAGE: u64 = 4096;

/// Number of a region, unique within one [`Memory`]; reused after release.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RegionId(u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// An address that may be passed on but not followed.
    Opaque,
    ReadOnly,
    ReadWrite,
}

/// What a region is, for messages and for helpers that take one kind only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// Frame number, 0 for the entry function.
    Stack(u8),
    Ctx,
    Packet,
    /// The values of a map, by index.
    MapValue(u32),
    /// A map itself.
    Map(u32),
    /// Addresses of functions; the offset is the instruction slot.
    Code,
    /// Memory the person supplied (`--mem`).
    Input,
    /// A record of a ring buffer map.
    Record(u32),
    /// An object allocated by the program.
    Object,
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionKind::Stack(frame) => write!(f, "stack of frame {frame}"),
            RegionKind::Ctx => f.write_str("ctx"),
            RegionKind::Packet => f.write_str("packet"),
            RegionKind::MapValue(m) => write!(f, "value of map {m}"),
            RegionKind::Map(m) => write!(f, "map {m}"),
            RegionKind::Code => f.write_str("code"),
            RegionKind::Input => f.write_str("memory"),
            RegionKind::Record(m) => write!(f, "ring buffer record of map {m}"),
            RegionKind::Object => f.write_str("allocated object"),
        }
    }
}

/// A field of a context whose load yields a pointer wider than the field (`__sk_buff->data`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PointerField {
    pub off: u32,
    /// Bytes of the load that yields it.
    pub size: u32,
    pub value: u64,
}

/// One piece of memory.
#[derive(Debug)]
pub struct Region {
    pub kind: RegionKind,
    pub access: Access,
    bytes: Buffer,
    /// Accessible part: offsets `low..high`.
    low: u32,
    high: u32,
    /// One piece that may be read and written, without pointer fields: nothing but bounds to check.
    is_plain: bool,
    /// Distance between elements, each of which is accessible up to `element`; 0 for one piece.
    stride: u32,
    element: u32,
    pointers: Vec<PointerField>,
    /// Where not empty, the only ranges (offset, length) that may be read.
    known: Vec<(u32, u32)>,
    /// Pointers stand in the bytes themselves.
    is_native: bool,
}

impl Region {
    pub fn new(kind: RegionKind, access: Access, bytes: Vec<u8>) -> Region {
        Region::of(kind, access, Buffer::copied(&bytes))
    }

    /// Zero bytes, which take no memory until they are touched; None where there is no room.
    pub fn zeroed(kind: RegionKind, access: Access, len: usize) -> Option<Region> {
        Some(Region::of(kind, access, Buffer::zeroed(len)?))
    }

    fn of(kind: RegionKind, access: Access, bytes: Buffer) -> Region {
        let high = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Region {
            kind,
            access,
            bytes,
            low: 0,
            high,
            is_plain: access == Access::ReadWrite,
            stride: 0,
            element: 0,
            pointers: Vec::new(),
            known: Vec::new(),
            is_native: false,
        }
    }

    /// Elements of `element` bytes, `stride` apart; an access may not leave its element.
    pub fn with_elements(mut self, element: u32, stride: u32) -> Region {
        (self.element, self.stride) = (element, stride);
        self.is_plain &= stride == 0;
        self
    }

    /// Restricts accesses to `low..high`, both cut to the region's size.
    pub fn with_window(mut self, low: u32, high: u32) -> Region {
        self.set_window(low, high);
        self
    }

    /// A kernel structure of which these fields (offset, length) are known and the rest is not.
    pub fn with_known(mut self, known: Vec<(u32, u32)>) -> Region {
        self.is_plain = false;
        self.known = known;
        self
    }

    pub fn with_pointers(mut self, pointers: Vec<PointerField>) -> Region {
        pointers.into_iter().for_each(|p| self.set_pointer(p));
        self
    }

    pub fn set_window(&mut self, low: u32, high: u32) {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.high = high.min(len);
        self.low = low.min(self.high);
    }

    pub fn window(&self) -> (u32, u32) {
        (self.low, self.high)
    }

    /// Gives a field its value, which may have had another.
    pub fn set_pointer(&mut self, p: PointerField) {
        self.is_plain = false;
        self.pointers.retain(|old| old.off != p.off);
        self.pointers.push(p);
        if self.is_native {
            self.write_pointer(p);
        }
    }

    fn write_pointer(&mut self, p: PointerField) {
        let (at, bytes) = (p.off as usize, p.value.to_le_bytes());
        let bytes = bytes.get(..p.size as usize).unwrap_or(&bytes);
        if let Some(to) = self.bytes.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }

    /// Makes the region's address what a program sees; false where it cannot be that.
    fn become_native(&mut self) -> bool {
        if self.kind == RegionKind::Packet && !self.bytes.is_low() {
            let Some(mut low) = Buffer::low(self.bytes.len()) else { return false };
            low.copy_from_slice(&self.bytes);
            self.bytes = low;
        }
        self.is_native = true;
        for p in self.pointers.clone() {
            self.write_pointer(p);
        }
        true
    }

    /// All bytes, those outside the window included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    #[inline(always)]
    fn read(&self, off: u32, size: Size) -> Option<u64> {
        let at = off as usize;
        let b = &self.bytes;
        match size {
            Size::B => b.get(at).map(|v| *v as u64),
            Size::H => array(b, at).map(|v| u16::from_le_bytes(v) as u64),
            Size::W => array(b, at).map(|v| u32::from_le_bytes(v) as u64),
            Size::Dw => array(b, at).map(u64::from_le_bytes),
        }
    }

    /// False beyond the region's bytes.
    #[inline(always)]
    fn write(&mut self, off: u32, size: Size, value: u64) -> bool {
        let at = off as usize;
        let b = &mut self.bytes;
        match size {
            Size::B => put(b, at, [value as u8]),
            Size::H => put(b, at, (value as u16).to_le_bytes()),
            Size::W => put(b, at, (value as u32).to_le_bytes()),
            Size::Dw => put(b, at, value.to_le_bytes()),
        }
    }

    #[inline]
    fn check(&self, off: u32, len: u32) -> bool {
        let Some(end) = off.checked_add(len) else { return false };
        if off < self.low || end > self.high {
            return false;
        }
        let is_in = |(at, size): &(u32, u32)| off >= *at && end <= at.saturating_add(*size);
        if !self.known.is_empty() && !self.known.iter().any(is_in) {
            return false;
        }
        self.stride == 0 || off % self.stride + len <= self.element
    }
}

/// All regions of one run.
#[derive(Default, Debug)]
pub struct Memory {
    /// The arena of the program, whose addresses have 32 bits.
    pub arena: Option<Arena>,
    regions: Vec<Option<Region>>,
    free: Vec<u16>,
    /// In native mode, the number of the region that begins at an address.
    native: Option<BTreeMap<u64, u16>>,
    /// In native mode, what stands for a map can be read: it then takes a search to tell which map
    /// an address is that of.
    pub shows_maps: bool,
    /// In native mode, the parts (lowest address and end) of the machine's stack that hold the program's frames.
    frames: Vec<(u64, u64)>,
}

impl Memory {
    /// Memory at its own addresses, where no access is checked.
    ///
    /// # Safety
    /// Whoever hands an address to [`Memory::load`], [`Memory::store`], [`Memory::slice`]
    /// or [`Memory::slice_mut`] knows that the verifier has checked it: it is that of a
    /// live region and the access stays within.  [`Memory::probe`], [`Memory::readable`]
    /// and [`Memory::locate`] take any number.
    pub unsafe fn native() -> Memory {
        Memory { native: Some(BTreeMap::new()), ..Memory::default() }
    }

    pub fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// A packet's zero bytes, where [`Memory::add`] need not move them; None where there is no room.
    pub fn packet(&self, len: usize) -> Option<Region> {
        let bytes = match self.native {
            Some(_) => Buffer::low(len)?,
            None => Buffer::zeroed(len)?,
        };
        Some(Region::of(RegionKind::Packet, Access::ReadWrite, bytes))
    }

    /// Adds a region; None when there are too many, it is too large, or, in native mode,
    /// it is a packet and this host has no memory below 4 GiB.
    pub fn add(&mut self, mut region: Region) -> Option<RegionId> {
        if region.bytes.len() > i32::MAX as usize {
            return None;
        }
        if self.free.is_empty() && self.regions.len() >= MAX_REGIONS {
            return None;
        }
        let is_native = self.native.is_some() && region.access != Access::Opaque;
        if is_native && !region.become_native() {
            return None;
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.regions.push(None);
                u16::try_from(self.regions.len() - 1).ok()?
            }
        };
        if let Some(index) = self.native.as_mut().filter(|_| is_native) {
            index.insert(region.bytes.address(), id);
        }
        if let Some(slot) = self.regions.get_mut(id as usize) {
            *slot = Some(region);
        }
        Some(RegionId(id))
    }

    /// Gives the region back; its addresses lead nowhere until they are used again.
    pub fn release(&mut self, id: RegionId) {
        let slot = self.regions.get_mut(id.0 as usize);
        let Some(region) = slot.and_then(Option::take) else { return };
        if let Some(index) = self.native.as_mut().filter(|_| region.is_native) {
            index.remove(&region.bytes.address());
        }
        self.free.push(id.0);
    }

    pub fn region(&self, id: RegionId) -> Option<&Region> {
        self.regions.get(id.0 as usize)?.as_ref()
    }

    pub fn region_mut(&mut self, id: RegionId) -> Option<&mut Region> {
        self.regions.get_mut(id.0 as usize)?.as_mut()
    }

    /// Moves a region from its tagged address to its own.
    pub fn show(&mut self, id: RegionId) {
        let Some(index) = self.native.as_mut().filter(|_| self.shows_maps) else { return };
        let region = self.regions.get_mut(id.0 as usize).and_then(Option::as_mut);
        if let Some(region) = region.filter(|r| !r.is_native) {
            if region.become_native() {
                index.insert(region.bytes.address(), id.0);
            }
        }
    }

    /// The program's code is entered: its frames will lie below this address of the machine's stack.
    pub fn enter_frames(&mut self, end: u64) {
        self.frames.push((end, end));
    }

    /// It has called us: its frames lie above this address.
    #[inline]
    pub fn note_frames(&mut self, low: u64) {
        if let Some(last) = self.frames.last_mut() {
            last.0 = low;
        }
    }

    /// It is left again.
    pub fn leave_frames(&mut self) {
        self.frames.pop();
    }

    /// Bytes of the frames on the machine's stack, from `addr` on.
    fn on_stack(&self, addr: u64) -> Option<&[u8]> {
        let (_, end) = self.frames.iter().rev().find(|(low, end)| (*low..*end).contains(&addr))?;
        let at = std::ptr::with_exposed_provenance(addr as usize);
        let len = usize::try_from(end - addr).ok()?;
        // SAFETY: between the code that entered the program and what the program called lie frames
        // of the program alone, which stay there until both return, and Rust holds nothing in them.
        Some(unsafe { std::slice::from_raw_parts(at, len) })
    }

    /// Address of an offset in a region, as the program sees it.
    #[inline]
    pub fn addr(&self, id: RegionId, off: u32) -> u64 {
        if self.native.is_some() {
            if let Some(r) = self.region(id).filter(|r| r.is_native) {
                return r.bytes.address() + off as u64;
            }
        }
        TAG | (id.0 as u64) << 32 | off as u64
    }

    /// Region and offset an address lies in (its end included), whether or not it is accessible.
    #[inline]
    pub fn locate(&self, addr: u64) -> Option<(RegionId, u32)> {
        if let Ok(id) = u16::try_from((addr ^ TAG) >> 32) {
            return self.region(RegionId(id)).map(|_| (RegionId(id), addr as u32));
        }
        let (start, id) = self.native.as_ref()?.range(..=addr).next_back()?;
        let id = RegionId(*id);
        let off = u32::try_from(addr - start).ok()?;
        self.region(id).filter(|r| off as usize <= r.bytes.len()).map(|_| (id, off))
    }

    /// Kind of the region an address lies in.
    pub fn kind_at(&self, addr: u64) -> Option<(RegionKind, u32)> {
        let (id, off) = self.locate(addr)?;
        self.region(id).map(|r| (r.kind, off))
    }

    #[inline]
    fn find(&self, addr: u64, len: u32) -> Option<(&Region, u32)> {
        let (id, off) = self.locate(addr)?;
        let r = self.region(id)?;
        (r.access != Access::Opaque && r.check(off, len)).then_some((r, off))
    }

    /// True where an access is made without looking.
    #[inline]
    fn is_trusted(&self, addr: u64) -> bool {
        // Null pages and tagged addresses cost nothing to tell, and hold no region of ours.
        self.native.is_some() && addr >= NULL_PAGE && (addr as i64) > 0
    }

    #[inline]
    fn find_mut(&mut self, addr: u64, len: u32) -> Option<(&mut Region, u32)> {
        let (id, off) = self.locate(addr)?;
        let r = self.region_mut(id)?;
        (r.access == Access::ReadWrite && r.check(off, len)).then_some((r, off))
    }

    /// Reads an integer, zero-extended.
    #[inline(always)]
    pub fn load(&self, addr: u64, size: Size) -> Result<u64, Fault> {
        let off = addr as u32;
        if let Some(Some(r)) = self.regions.get(((addr ^ TAG) >> 32) as usize) {
            let end = off as u64 + size.bytes() as u64;
            if r.is_plain && off >= r.low && end <= r.high as u64 {
                if let Some(v) = r.read(off, size) {
                    return Ok(v);
                }
            }
        }
        self.load_slowly(addr, size)
    }

    /// The arena, where an address can only be one of its own: 32 bits and an offset.
    fn arena_at(&self, addr: u64) -> Option<&Arena> {
        const REACH: u64 = 1 << 15;
        let is_near = addr.wrapping_add(REACH) < (1 << 32) + 2 * REACH;
        self.arena.as_ref().filter(|_| is_near && self.native.is_none())
    }

    /// True where an access to the arena faults, so that the program goes on without its effect.
    pub fn misses_arena(&self, addr: u64, size: Size) -> bool {
        self.arena_at(addr).is_some_and(|a| !a.is_open(addr, size.bytes()))
    }

    #[inline(never)]
    fn load_slowly(&self, addr: u64, size: Size) -> Result<u64, Fault> {
        let len = size.bytes();
        if let Some(arena) = self.arena_at(addr) {
            return Ok(arena.load(addr, len));
        }
        if self.is_trusted(addr) {
            return self.slice(addr, len).map(little_endian);
        }
        let Some((r, off)) = self.find(addr, len) else {
            return Err(self.fault(addr, len, false));
        };
        if let Some(p) = r.pointers.iter().find(|p| p.off == off && p.size == len) {
            return Ok(p.value);
        }
        r.read(off, size).ok_or_else(|| self.fault(addr, len, false))
    }

    /// Writes the low bytes of an integer.
    #[inline(always)]
    pub fn store(&mut self, addr: u64, size: Size, value: u64) -> Result<(), Fault> {
        let off = addr as u32;
        if let Some(Some(r)) = self.regions.get_mut(((addr ^ TAG) >> 32) as usize) {
            let end = off as u64 + size.bytes() as u64;
            if r.is_plain && off >= r.low && end <= r.high as u64 && r.write(off, size, value) {
                return Ok(());
            }
        }
        self.store_slowly(addr, size, value)
    }

    #[inline(never)]
    fn store_slowly(&mut self, addr: u64, size: Size, value: u64) -> Result<(), Fault> {
        if self.arena_at(addr).is_some() {
            if let Some(arena) = &mut self.arena {
                arena.store(addr, size.bytes(), value);
            }
            return Ok(());
        }
        if self.is_trusted(addr) {
            let bytes = value.to_le_bytes();
            let to = self.slice_mut(addr, size.bytes())?;
            to.copy_from_slice(bytes.get(..to.len()).unwrap_or(&bytes));
            return Ok(());
        }
        if let Some((r, off)) = self.find_mut(addr, size.bytes()) {
            if r.write(off, size, value) {
                return Ok(());
            }
        }
        Err(self.fault(addr, size.bytes(), true))
    }

    /// Bytes to read.
    pub fn slice(&self, addr: u64, len: u32) -> Result<&[u8], Fault> {
        if self.is_trusted(addr) {
            let at = std::ptr::with_exposed_provenance(addr as usize);
            // SAFETY: in native mode the caller knows that these bytes are a live region's
            // (see `native`), and no region is given back while `self` is borrowed.
            return Ok(unsafe { std::slice::from_raw_parts(at, len as usize) });
        }
        self.probe(addr, len)
    }

    /// Bytes to read, of any number taken for an address: `bpf_probe_read` and its like.
    pub fn probe(&self, addr: u64, len: u32) -> Result<&[u8], Fault> {
        self.find(addr, len)
            .and_then(|(r, off)| r.bytes.get(off as usize..off as usize + len as usize))
            .or_else(|| self.on_stack(addr)?.get(..len as usize))
            .ok_or_else(|| self.fault(addr, len, false))
    }

    /// Bytes to write.
    pub fn slice_mut(&mut self, addr: u64, len: u32) -> Result<&mut [u8], Fault> {
        if self.is_trusted(addr) {
            let at = std::ptr::with_exposed_provenance_mut(addr as usize);
            // SAFETY: as in `slice`; native code does not run while the slice is held.
            return Ok(unsafe { std::slice::from_raw_parts_mut(at, len as usize) });
        }
        // Found twice because the borrow of a failed search would outlive it.
        if self.find_mut(addr, len).is_none() {
            return Err(self.fault(addr, len, true));
        }
        self.find_mut(addr, len)
            .and_then(|(r, off)| r.bytes.get_mut(off as usize..off as usize + len as usize))
            .ok_or(Fault { addr, len, write: true, why: FaultKind::NoRegion })
    }

    /// Bytes from `addr` to the end of what may be read there; empty where nothing may.
    pub fn readable(&self, addr: u64) -> &[u8] {
        let Some((r, off)) = self.find(addr, 0) else {
            return self.on_stack(addr).unwrap_or(&[]);
        };
        let end = match r.stride {
            0 => r.high,
            stride => (off - off % stride + r.element).min(r.high),
        };
        r.bytes.get(off as usize..end as usize).unwrap_or(&[])
    }

    #[cold]
    fn fault(&self, addr: u64, len: u32, write: bool) -> Fault {
        // An address just before a region has the number of the one before and a huge offset.
        let near = addr.wrapping_add(1 << 31);
        let found = self.locate(near & !0xffff_ffff).and_then(|(id, _)| self.region(id));
        let signed = addr as u32 as i32 as i64;
        let why = match found {
            None if addr < NULL_PAGE => FaultKind::Null,
            None => FaultKind::NoRegion,
            Some(r) if r.access == Access::Opaque => FaultKind::Opaque { kind: r.kind },
            Some(r) if !write && !r.known.is_empty() => FaultKind::Unknown { off: addr as u32 },
            Some(r) if r.check(addr as u32, len) => FaultKind::ReadOnly { kind: r.kind },
            Some(r) => {
                let (off, size) = match r.stride {
                    0 => (signed - r.low as i64, r.high - r.low),
                    stride => (signed.rem_euclid(stride as i64), r.element),
                };
                FaultKind::OutOfBounds { kind: r.kind, off, size }
            }
        };
        Fault { addr, len, write, why }
    }
}
