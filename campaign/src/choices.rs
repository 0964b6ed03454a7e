//! The choices a generator makes: drawn by chance, read from a fuzzer's bytes, or repeated from an earlier run.
//!
//! What was chosen is written down, so that any case can be made again and made smaller: zero is always the
//! simplest choice, and past the end every choice is zero.

use bpfassay_harness::gen::rng::Rng;

/// Where choices come from.
#[derive(Clone, Debug)]
enum From {
    Chance(Rng),
    Bytes(Vec<u8>),
    List(Vec<u64>),
}

/// A sequence of choices.
#[derive(Clone, Debug)]
pub struct Choices {
    from: From,
    at: usize,
    taken: Vec<u64>,
}

impl Choices {
    /// By chance, from a seed.
    pub fn seeded(seed: u64) -> Choices {
        Choices::new(From::Chance(Rng::new(seed)))
    }

    /// From bytes: one for each choice among few, eight for a number.
    pub fn of_bytes(bytes: &[u8]) -> Choices {
        Choices::new(From::Bytes(bytes.to_vec()))
    }

    /// As [`Choices::taken`] gave them.
    pub fn of_list(list: &[u64]) -> Choices {
        Choices::new(From::List(list.to_vec()))
    }

    fn new(from: From) -> Choices {
        Choices { from, at: 0, taken: Vec::with_capacity(256) }
    }

    /// What has been chosen so far.
    pub fn taken(&self) -> &[u64] {
        &self.taken
    }

    pub fn into_taken(self) -> Vec<u64> {
        self.taken
    }

    fn draw(&mut self, bytes: usize) -> u64 {
        let v = match &mut self.from {
            From::Chance(rng) => rng.next_u64() >> (64 - 8 * bytes),
            From::List(list) => list.get(self.at).copied().unwrap_or(0),
            From::Bytes(all) => {
                let rest = all.get(self.at..).unwrap_or(&[]);
                let own = rest.iter().take(bytes);
                let v = own.rev().fold(0, |v, b| v << 8 | u64::from(*b));
                self.at += bytes;
                return self.note(v);
            }
        };
        self.at += 1;
        self.note(v)
    }

    fn note(&mut self, v: u64) -> u64 {
        self.taken.push(v);
        v
    }

    /// Below `n`, which is 1 to 256.
    pub fn below(&mut self, n: u32) -> u32 {
        let bytes = if n > 256 { 4 } else { 1 };
        self.draw(bytes) as u32 % n.max(1)
    }

    /// True in about `n` of 100 cases; false is the simple choice.
    pub fn percent(&mut self, n: u32) -> bool {
        100 - self.below(100) <= n
    }

    /// One of these; the first is the simplest.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// Any word.
    pub fn word(&mut self) -> u64 {
        self.draw(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_repeats_what_chance_chose() {
        let mut a = Choices::seeded(7);
        let first: Vec<u64> =
            (0..20).map(|i| if i % 3 == 0 { a.word() } else { a.below(9).into() }).collect();
        let mut b = Choices::of_list(a.taken());
        let second: Vec<u64> =
            (0..20).map(|i| if i % 3 == 0 { b.word() } else { b.below(9).into() }).collect();
        assert_eq!(first, second);
        assert_eq!((b.below(9), b.word()), (0, 0));
    }

    #[test]
    fn bytes_are_read_in_order_and_end_in_zeroes() {
        let mut c = Choices::of_bytes(&[3, 1, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(
            (c.below(10), c.word(), c.below(10), c.word()),
            (3, 0x8000_0000_0000_0001, 0, 0)
        );
    }
}
