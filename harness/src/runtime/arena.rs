//! The memory of an arena map: pages in a 32-bit space, taken and given back by the program.
//!
//! A page that was not allocated reads as zeroes and swallows what is written,
//! as the kernel's handled faults do.  Free ranges are searched best fit, among
//! equals the one freed last.  Mirrors kernel/bpf/arena.c and range_tree.c.
//!
//! In native memory the 4 GiB are addresses of this process, of which allocated pages
//! are open: compiled code adds a pointer's low half to [`Arena::base`], and what it finds closed
//! faults.  Elsewhere pages are found by number.
#![allow(unsafe_code)]

use std::collections::BTreeMap;

use super::maps::errno::{EBUSY, EINVAL};
use crate::pages::Pages;

pub const PAGE: u64 = 4096;
/// Where an arena lies in user space unless its map says so, and how far into its 4 GiB
/// where it fits, so that no page has the null pointer's low half.
const DEFAULT_START: u64 = 0x7f00_0000_0000;
const DEFAULT_OFFSET: u64 = 0x1000_0000;

/// All that a pointer's low half can reach.
const SPACE: u64 = 1 << 32;
/// Half of `GUARD_SZ`: as far as an instruction's offset reaches beside it.
const GUARD: u64 = 1 << 15;

/// Where the bytes of allocated pages are.
#[derive(Debug)]
enum Bytes {
    /// Found by page number; none until it is touched.
    Paged(BTreeMap<u64, Box<[u8; PAGE as usize]>>),
    /// At the low half of their address behind a guard.
    Mapped(Pages),
}

/// A run of free pages.
#[derive(Clone, Copy, Debug)]
struct Free {
    count: u64,
    /// Larger for what was inserted later.
    age: u64,
}

/// An arena.
#[derive(Debug)]
pub struct Arena {
    start: u64,
    count: u64,
    free: BTreeMap<u64, Free>,
    clock: u64,
    /// Runs (start, end) that are taken without memory behind them.
    reserved: Vec<(u64, u64)>,
    bytes: Bytes,
}

impl Arena {
    /// Of so many pages, at this address of user space; 0 for one of our choice.
    ///
    /// In native memory its bytes can be reached by address, where this host has addresses to give.
    pub fn new(start: u64, count: u64, is_native: bool) -> Arena {
        let whole = usize::try_from(SPACE + 2 * GUARD).ok().filter(|_| is_native);
        let mapped = whole.map(Pages::reserved);
        let bytes = match mapped {
            Some(Ok(pages)) => Bytes::Mapped(pages),
            _ => Bytes::Paged(BTreeMap::new()),
        };
        let fits = count.saturating_mul(PAGE) <= SPACE - DEFAULT_OFFSET;
        let start = match start {
            0 if fits => DEFAULT_START + DEFAULT_OFFSET,
            0 => DEFAULT_START,
            given => given,
        };
        let free = BTreeMap::from([(0, Free { count, age: 0 })]);
        Arena { start, count, free, clock: 0, reserved: Vec::new(), bytes }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// Address in this process of the byte whose address has the low half 0, where there is one.
    pub fn base(&self) -> Option<u64> {
        match &self.bytes {
            Bytes::Paged(_) => None,
            Bytes::Mapped(pages) => Some(pages.address() + GUARD),
        }
    }

    /// Upper half of the addresses user space knows.
    pub fn user_half(&self) -> u64 {
        self.start & !0xffff_ffff
    }

    /// Page number within the arena of an address, of which only the low half counts.
    fn page(&self, addr: u64) -> u64 {
        page_of(self.start, addr)
    }

    fn is_free(&self, page: u64, count: u64) -> bool {
        let before = self.free.range(..=page).next_back();
        before.is_some_and(|(at, f)| page + count <= at + f.count)
    }

    fn insert_free(&mut self, page: u64, count: u64) {
        if count > 0 {
            self.clock += 1;
            self.free.insert(page, Free { count, age: self.clock });
        }
    }

    /// Takes pages out of the free ranges they lie in.
    fn take(&mut self, page: u64, count: u64) {
        let end = page + count;
        let over: Vec<(u64, Free)> = self.free.range(..end).map(|(a, f)| (*a, *f)).collect();
        for (at, f) in over.into_iter().filter(|(at, f)| at + f.count > page) {
            self.free.remove(&at);
            self.insert_free(at, page.saturating_sub(at));
            self.insert_free(end, (at + f.count).saturating_sub(end));
        }
    }

    /// Makes pages free, joined with free neighbours.
    fn put(&mut self, page: u64, count: u64) {
        if self.is_free(page, count) {
            return;
        }
        let (mut from, mut end) = (page, page + count);
        let near: Vec<(u64, u64)> = self
            .free
            .range(..=end)
            .map(|(a, f)| (*a, a + f.count))
            .filter(|r| r.1 >= page)
            .collect();
        for (a, b) in near {
            self.free.remove(&a);
            (from, end) = (from.min(a), end.max(b));
        }
        self.insert_free(from, end - from);
    }

    /// Allocates zeroed pages, at `addr` unless that is 0; gives their address or 0.
    pub fn allocate(&mut self, addr: u64, count: u32) -> u64 {
        let count = u64::from(count);
        if count > self.count || !addr.is_multiple_of(PAGE) {
            return 0;
        }
        let page = if addr != 0 {
            let page = self.page(addr);
            (page <= self.count - count && self.is_free(page, count)).then_some(page)
        } else {
            let fits = self.free.iter().filter(|(_, f)| f.count >= count);
            fits.min_by_key(|(_, f)| (f.count, std::cmp::Reverse(f.age))).map(|(a, _)| *a)
        };
        let Some(page) = page else { return 0 };
        self.take(page, count);
        if !self.make(page, count) {
            self.put(page, count);
            return 0;
        }
        self.start + page * PAGE
    }

    /// Where pages begin in the mapping.
    fn place(&self, page: u64) -> usize {
        place_of(self.start + page * PAGE)
    }

    /// Makes pages zero bytes; false where there is no memory.
    fn make(&mut self, page: u64, count: u64) -> bool {
        let at = self.place(page);
        match &mut self.bytes {
            Bytes::Paged(pages) => {
                for p in page..page + count {
                    pages.remove(&p);
                }
                true
            }
            Bytes::Mapped(pages) => pages.open(at, (count * PAGE) as usize).is_ok(),
        }
    }

    pub fn release(&mut self, addr: u64, count: u32) {
        let page = self.page(addr & !(PAGE - 1));
        let end = page.saturating_add(u64::from(count)).min(self.count);
        if page >= end {
            return;
        }
        self.put(page, end - page);
        let cut = |(a, b): &(u64, u64)| [(*a, (*b).min(page)), ((*a).max(end), *b)];
        self.reserved = self.reserved.iter().flat_map(cut).filter(|(a, b)| a < b).collect();
        let at = self.place(page);
        match &mut self.bytes {
            Bytes::Paged(pages) => pages.retain(|p, _| *p < page || *p >= end),
            // Closing fails where the system has no room to note it: then the pages keep their bytes.
            Bytes::Mapped(pages) => {
                let _ = pages.close(at, ((end - page) * PAGE) as usize);
            }
        }
    }

    /// Keeps pages from being allocated; 0 or a negative error number.
    pub fn reserve(&mut self, addr: u64, count: u32) -> i64 {
        if !addr.is_multiple_of(PAGE) {
            return 0;
        }
        let (page, count) = (self.page(addr), u64::from(count));
        if page + count > self.count {
            return -EINVAL;
        }
        if !self.is_free(page, count) {
            return -EBUSY;
        }
        self.take(page, count);
        self.reserved.push((page, page + count));
        0
    }

    /// Fills the first pages, as a loader does with global variables.
    pub fn fill(&mut self, bytes: &[u8]) {
        let count = (bytes.len() as u64).div_ceil(PAGE).min(self.count);
        if count == 0 {
            return;
        }
        self.take(0, count);
        if self.make(0, count) {
            let start = u64::from(self.start as u32);
            for (at, b) in (start..start + count * PAGE).zip(bytes) {
                self.store(at, 1, u64::from(*b));
            }
        }
    }

    /// True where the page is allocated.
    fn is_mapped(&self, page: u64) -> bool {
        let is_reserved = self.reserved.iter().any(|(a, b)| (*a..*b).contains(&page));
        page < self.count && !is_reserved && !self.is_free(page, 1)
    }

    /// True where all bytes at this 32-bit address are of allocated pages: other accesses fault
    /// as a whole.
    pub fn is_open(&self, addr: u64, len: u32) -> bool {
        let last = addr.saturating_add(u64::from(len.max(1) - 1));
        if last >= SPACE {
            return false;
        }
        let (first, last) = (self.page(addr), self.page(last));
        self.is_mapped(first) && (first == last || self.is_mapped(last))
    }

    /// Reads an integer at a 32-bit address; 0 where it faults.
    pub fn load(&self, addr: u64, len: u32) -> u64 {
        let mut out = [0; 8];
        if let Some(to) = out.get_mut(..len as usize).filter(|_| self.is_open(addr, len)) {
            match &self.bytes {
                Bytes::Paged(pages) => {
                    for (i, b) in to.iter_mut().enumerate() {
                        let at = addr.wrapping_add(i as u64);
                        let page = pages.get(&self.page(at));
                        *b = page.map_or(0, |p| p[(at % PAGE) as usize]);
                    }
                }
                Bytes::Mapped(pages) => {
                    // SAFETY: the bytes lie in open pages of the mapping (`is_open`).
                    unsafe {
                        let from = pages.start().as_ptr().add(place_of(addr));
                        std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
                    }
                }
            }
        }
        u64::from_le_bytes(out)
    }

    /// Writes the low bytes of an integer; what hits no page is lost.
    pub fn store(&mut self, addr: u64, len: u32, value: u64) {
        let bytes = value.to_le_bytes();
        let Some(from) = bytes.get(..len as usize).filter(|_| self.is_open(addr, len)) else {
            return;
        };
        let start = self.start;
        match &mut self.bytes {
            Bytes::Paged(pages) => {
                for (i, b) in from.iter().enumerate() {
                    let at = addr.wrapping_add(i as u64);
                    let page = pages.entry(page_of(start, at));
                    page.or_insert_with(|| Box::new([0; PAGE as usize]))[(at % PAGE) as usize] = *b;
                }
            }
            Bytes::Mapped(pages) => {
                // SAFETY: as in `load`; no reference to these bytes is ever made.
                unsafe {
                    let to = pages.start().as_ptr().add(place_of(addr));
                    std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                }
            }
        }
    }

    /// The address user space knows it by (`addr_space_cast` to address space 0); 0 stays 0.
    pub fn user(&self, addr: u64) -> u64 {
        match addr as u32 {
            0 => 0,
            low => self.user_half() | u64::from(low),
        }
    }
}

/// Where an address is in the mapping, which is there only where `usize` can say it.
fn place_of(addr: u64) -> usize {
    (GUARD + u64::from(addr as u32)) as usize
}

fn page_of(start: u64, addr: u64) -> u64 {
    u64::from((addr as u32).wrapping_sub(start as u32)) / PAGE
}
