//! Which ids of an explored state stand for which of the current one (`check_ids`).

use bpfassay_spec::Limits;

use crate::domain::reg::ADD_CONST;

/// `BPF_ID_MAP_SIZE`: every register and slot of every frame.
const ID_MAP_SIZE: usize =
    (11 + Limits::MOST.max_stack as usize / 8) * Limits::MOST.max_call_frames as usize;

/// Old ids and the current ids they stand for, during one comparison (`struct bpf_idmap`).
#[derive(Debug, Default)]
pub struct IdMap {
    next_temporary: u32,
    pairs: Vec<(u32, u32)>,
}

impl IdMap {
    /// Forgets all pairs (`reset_idmap_scratch`).
    pub fn reset(&mut self, id_gen: u32) {
        self.next_temporary = id_gen;
        self.pairs.clear();
    }

    /// `check_ids`: both unset, or a pair that contradicts no earlier one.
    #[inline]
    pub(super) fn check(&mut self, old: u32, cur: u32) -> bool {
        if (old == 0) != (cur == 0) {
            return false;
        }
        old == 0 || self.check_pair(old, cur)
    }

    fn check_pair(&mut self, old: u32, cur: u32) -> bool {
        for &(o, c) in &self.pairs {
            if o == old {
                return c == cur;
            }
            if c == cur {
                return false;
            }
        }
        if self.pairs.len() >= ID_MAP_SIZE {
            return false;
        }
        self.pairs.push((old, cur));
        true
    }

    /// The same before 6.3: an old id has one current one, which may stand for several.
    pub(super) fn check_one_way(&mut self, old: u32, cur: u32) -> bool {
        match self.pairs.iter().find(|(o, _)| *o == old) {
            Some((_, c)) => *c == cur,
            None => {
                self.pairs.push((old, cur));
                true
            }
        }
    }

    /// `check_scalar_ids`: an unset id counts as a fresh one.
    pub(super) fn check_scalar(&mut self, old: u32, cur: u32) -> bool {
        let old = if old == 0 { self.temporary() } else { old };
        let cur = if cur == 0 { self.temporary() } else { cur };
        self.check(old, cur)
    }

    /// The same of kernels with `scalar_ids_one_way`: an unset old id asks for nothing, and a link with a
    /// delta maps its base as well.
    pub(super) fn check_scalar_one_way(&mut self, old: u32, cur: u32) -> bool {
        if old == 0 {
            return true;
        }
        let cur = if cur == 0 { self.temporary() } else { cur };
        self.check(old, cur)
            && (old & ADD_CONST == 0 || self.check(old & !ADD_CONST, cur & !ADD_CONST))
    }

    fn temporary(&mut self) -> u32 {
        self.next_temporary = self.next_temporary.wrapping_add(1);
        self.next_temporary
    }
}
