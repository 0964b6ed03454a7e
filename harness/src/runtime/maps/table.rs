//! Keys to addresses of values: an open table whose layout compiled code knows ([`bpfassay_jit::HashPlan`]).
//!
//! Entries are a power of two of words each: the value's address, or 0 where there is none, and the
//! key's words, the last one filled up with zeros.  A key stands at its hash or in one of the entries
//! that follow without a gap; deleting moves later ones up, and half of the entries are always free.
//! Knows no values and no program.

use bpfassay_jit::HashPlan;

/// What is aligned like a line of the cache, so that a short entry lies in one.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; LINE]);

const LINE: usize = 8;
/// Entries of a new table.
const FEWEST: usize = 16;

/// Where compiled code finds the entries, at an address that stays.
#[derive(Default)]
#[repr(C)]
struct Head {
    entries: u64,
    /// Bytes of all entries but one.
    mask: u64,
}

pub struct Table {
    head: Box<Head>,
    lines: Vec<Line>,
    key_size: usize,
    /// Words of an entry, and how far a hash is shifted to count them as bytes.
    stride: usize,
    shift: u32,
    /// Keys in the table.
    len: usize,
    /// Entries less one.
    last: usize,
}

/// Words of a key, its last one filled up.
fn words(key: &[u8]) -> impl Iterator<Item = u64> + '_ {
    key.chunks(8).map(|piece| match piece.try_into() {
        Ok(word) => u64::from_le_bytes(word),
        Err(_) => {
            let mut word = [0; 8];
            word.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(word)
        }
    })
}

impl Table {
    /// An empty table for keys of so many bytes, at least one.
    pub fn new(key_size: usize) -> Table {
        let stride = HashPlan::entry_words(key_size);
        let mut table = Table {
            head: Box::default(),
            lines: Vec::new(),
            key_size,
            stride,
            shift: (stride * 8).trailing_zeros(),
            len: 0,
            last: FEWEST - 1,
        };
        table.make_room(FEWEST);
        table
    }

    /// Address that stays of where the entries are and how many.
    pub fn address(&self) -> u64 {
        std::ptr::from_ref(&*self.head).expose_provenance() as u64
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn make_room(&mut self, entries: usize) {
        self.lines = vec![Line::default(); (entries * self.stride).div_ceil(LINE)];
        self.last = entries - 1;
        *self.head = Head {
            entries: self.lines.as_ptr().expose_provenance() as u64,
            mask: (self.last * self.stride * 8) as u64,
        };
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.lines.get(at / LINE).map_or(0, |line| line.0[at % LINE])
    }

    fn set_word(&mut self, at: usize, v: u64) {
        if let Some(line) = self.lines.get_mut(at / LINE) {
            line.0[at % LINE] = v;
        }
    }

    /// Entry that a key would stand in were it alone.
    #[inline]
    fn home(&self, words: impl Iterator<Item = u64>) -> usize {
        let hash = words.fold(0, HashPlan::mix);
        (hash >> self.shift) as usize & self.last
    }

    #[inline]
    fn has(&self, entry: usize, key: &[u8]) -> bool {
        let at = entry * self.stride + 1;
        words(key).enumerate().all(|(i, word)| self.word(at + i) == word)
    }

    /// Entry of a key, or the free one where it would go.
    #[inline]
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let mut entry = self.home(words(key));
        // Where nothing is free somebody has written to what is not his.
        for _ in 0..=self.last {
            if self.word(entry * self.stride) == 0 {
                break;
            }
            if self.has(entry, key) {
                return Ok(entry);
            }
            entry = (entry + 1) & self.last;
        }
        Err(entry)
    }

    /// Address of a key's value.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<u64> {
        if key.len() != self.key_size {
            return None;
        }
        self.find(key).ok().map(|entry| self.word(entry * self.stride))
    }

    /// Gives a key its value's address, which is not 0.
    pub fn insert(&mut self, key: &[u8], address: u64) {
        let entry = match self.find(key) {
            Ok(entry) => return self.set_word(entry * self.stride, address),
            Err(_) if (self.len + 1) * 2 > self.last + 1 => {
                self.grow();
                self.find(key).unwrap_or_else(|free| free)
            }
            Err(free) => free,
        };
        self.len += 1;
        let at = entry * self.stride;
        self.set_word(at, address);
        for (i, word) in words(key).enumerate() {
            self.set_word(at + 1 + i, word);
        }
    }

    fn grow(&mut self) {
        let all = self.entries();
        self.make_room((self.last + 1) * 2);
        self.len = 0;
        for (key, address) in all {
            self.insert(&key, address);
        }
    }

    /// Takes a key out; gives its value's address.
    pub fn remove(&mut self, key: &[u8]) -> Option<u64> {
        let mut hole = self.find(key).ok()?;
        let address = self.word(hole * self.stride);
        self.len -= 1;
        let mut entry = hole;
        for _ in 0..self.last {
            entry = (entry + 1) & self.last;
            if self.word(entry * self.stride) == 0 {
                break;
            }
            let home = self.home(
                (0..self.key_size.div_ceil(8)).map(|i| self.word(entry * self.stride + 1 + i)),
            );
            // It may stand where its way from home passes the hole.
            let passes =
                (entry.wrapping_sub(home) & self.last) >= (entry.wrapping_sub(hole) & self.last);
            if passes {
                self.copy(entry, hole);
                hole = entry;
            }
        }
        (0..self.stride).for_each(|i| self.set_word(hole * self.stride + i, 0));
        Some(address)
    }

    fn copy(&mut self, from: usize, to: usize) {
        for i in 0..self.stride {
            let word = self.word(from * self.stride + i);
            self.set_word(to * self.stride + i, word);
        }
    }

    /// Keys and addresses, in no order.
    pub fn entries(&self) -> Vec<(Vec<u8>, u64)> {
        let of = |entry: usize| {
            let at = entry * self.stride;
            let address = self.word(at);
            let words = (0..self.key_size.div_ceil(8)).map(|i| self.word(at + 1 + i));
            (address != 0).then(|| {
                let key = words.flat_map(u64::to_le_bytes).take(self.key_size).collect();
                (key, address)
            })
        };
        (0..=self.last).filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every key size class, with keys that differ in one place only, beside a map of another kind.
    #[test]
    fn it_is_a_map() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for key_size in [1, 2, 3, 4, 6, 8, 12, 13, 16, 20, 40, 64, 65] {
            let mut table = Table::new(key_size);
            let mut truth = BTreeMap::new();
            for step in 1..4000u64 {
                let mut key = vec![0; key_size];
                let at = next() as usize % key_size;
                key[at] = next() as u8 & 31;
                match next() % 3 {
                    0 => assert_eq!(table.remove(&key), truth.remove(&key)),
                    _ => {
                        table.insert(&key, step);
                        truth.insert(key.clone(), step);
                    }
                }
                assert_eq!(table.get(&key), truth.get(&key).copied());
                assert_eq!(table.len(), truth.len());
            }
            let mut all = table.entries();
            all.sort();
            assert_eq!(all, truth.into_iter().collect::<Vec<_>>(), "{key_size} bytes");
            assert!(table.len() * 2 <= table.last + 1);
        }
    }

    #[test]
    fn keys_of_another_size_are_not_there() {
        let mut table = Table::new(4);
        table.insert(&[0; 4], 9);
        assert_eq!(table.get(&[0; 8]), None);
    }

    /// Keys that differ in high or in low bits alone stand near their homes.
    #[test]
    fn keys_spread() {
        for shift in [0, 8, 20, 32, 44, 52] {
            let mut table = Table::new(8);
            (1..1000u64).for_each(|k| table.insert(&(k << shift).to_le_bytes(), k));
            let far = |k: u64| {
                let key = (k << shift).to_le_bytes();
                let at = table.find(&key).expect("is there");
                at.wrapping_sub(table.home(words(&key))) & table.last
            };
            let sum: usize = (1..1000).map(far).sum();
            assert!(sum < 2000, "shifted by {shift}: {sum}");
        }
    }
}
