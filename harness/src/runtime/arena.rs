//! The memory of an arena map: pages in a 32-bit space, taken and given back by the program.
//!
//! A page that was not allocated reads as zeroes and swallows what is written,
//! as the kernel's handled faults do.  Free ranges are searched best fit, among
//! equals the one freed last.  Mirrors kernel/bpf/arena.c and range_tree.c.

use std::collections::BTreeMap;

use super::maps::errno::{EBUSY, EINVAL};

pub const PAGE: u64 = 4096;
/// Where an arena lies in user space unless its map says so, and how far into its 4 GiB
/// where it fits, so that no page has the null pointer's low half.
const DEFAULT_START: u64 = 0x7f00_0000_0000;
const DEFAULT_OFFSET: u64 = 0x1000_0000;

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
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Arena {
    /// Of so many pages, at this address of user space; 0 for one of our choice.
    pub fn new(start: u64, count: u64) -> Arena {
        let fits = count.saturating_mul(PAGE) <= (1 << 32) - DEFAULT_OFFSET;
        let start = match start {
            0 if fits => DEFAULT_START + DEFAULT_OFFSET,
            0 => DEFAULT_START,
            given => given,
        };
        let free = BTreeMap::from([(0, Free { count, age: 0 })]);
        Arena { start, count, free, clock: 0, reserved: Vec::new(), pages: BTreeMap::new() }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// Page number within the arena of an address, of which only the low half counts.
    fn page(&self, addr: u64) -> u64 {
        u64::from((addr as u32).wrapping_sub(self.start as u32)) / PAGE
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
        if count > self.count || addr % PAGE != 0 {
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
        // A page comes into being when it is touched; until then only its number is taken.
        for p in page..page + count {
            self.pages.remove(&p);
        }
        self.start + page * PAGE
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
        self.pages.retain(|p, _| *p < page || *p >= end);
    }

    /// Keeps pages from being allocated; 0 or a negative error number.
    pub fn reserve(&mut self, addr: u64, count: u32) -> i64 {
        if addr % PAGE != 0 {
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
        for (i, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            let page = self.pages.entry(i as u64).or_insert_with(|| Box::new([0; PAGE as usize]));
            page[..chunk.len()].copy_from_slice(chunk);
        }
    }

    /// True where the page is allocated.
    fn is_mapped(&self, page: u64) -> bool {
        let is_reserved = self.reserved.iter().any(|(a, b)| (*a..*b).contains(&page));
        page < self.count && !is_reserved && !self.is_free(page, 1)
    }

    fn byte(&self, addr: u64) -> u8 {
        let page = self.pages.get(&self.page(addr));
        page.map_or(0, |p| p[(addr % PAGE) as usize])
    }

    /// Reads an integer at an address whose low half counts.
    pub fn load(&self, addr: u64, len: u32) -> u64 {
        (0..u64::from(len)).rev().fold(0, |v, i| v << 8 | u64::from(self.byte(addr + i)))
    }

    /// Writes the low bytes of an integer; what hits no page is lost.
    pub fn store(&mut self, addr: u64, len: u32, value: u64) {
        for (i, b) in value.to_le_bytes().into_iter().take(len as usize).enumerate() {
            let addr = addr.wrapping_add(i as u64);
            let page = self.page(addr);
            if self.is_mapped(page) {
                let bytes = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]));
                bytes[(addr % PAGE) as usize] = b;
            }
        }
    }

    /// The address user space knows it by (`addr_space_cast` to address space 0); 0 stays 0.
    pub fn user(&self, addr: u64) -> u64 {
        match addr as u32 {
            0 => 0,
            low => (self.start & !0xffff_ffff) | u64::from(low),
        }
    }
}
