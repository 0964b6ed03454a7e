//! Which element of a map was used longest ago: a list through all of them.

/// Nodes are slots plus one; node 0 is both ends.  What is in no list has itself on both sides.
pub struct Uses {
    /// Node before (used earlier) and behind.
    links: Vec<(usize, usize)>,
    keys: Vec<Box<[u8]>>,
}

impl Uses {
    pub fn new() -> Uses {
        Uses { links: vec![(0, 0)], keys: Vec::new() }
    }

    fn link(&self, node: usize) -> (usize, usize) {
        self.links.get(node).copied().unwrap_or((node, node))
    }

    fn set_before(&mut self, node: usize, before: usize) {
        if let Some(link) = self.links.get_mut(node) {
            link.0 = before;
        }
    }

    fn set_behind(&mut self, node: usize, behind: usize) {
        if let Some(link) = self.links.get_mut(node) {
            link.1 = behind;
        }
    }

    /// A slot gets another key.
    pub fn name(&mut self, slot: u32, key: &[u8]) {
        let slot = slot as usize;
        while self.keys.len() <= slot {
            self.links.push((self.links.len(), self.links.len()));
            self.keys.push(Box::default());
        }
        if let Some(to) = self.keys.get_mut(slot) {
            *to = key.into();
        }
    }

    /// The slot is used now.
    pub fn touch(&mut self, slot: u32) {
        self.forget(slot);
        let node = slot as usize + 1;
        let last = self.link(0).0;
        self.set_behind(last, node);
        self.set_before(node, last);
        self.set_behind(node, 0);
        self.set_before(0, node);
    }

    /// The slot is free.
    pub fn forget(&mut self, slot: u32) {
        let node = slot as usize + 1;
        let (before, behind) = self.link(node);
        self.set_behind(before, behind);
        self.set_before(behind, before);
        self.set_before(node, node);
        self.set_behind(node, node);
    }

    /// Key of the slot used longest ago.
    pub fn oldest(&self) -> Option<&[u8]> {
        let node = self.link(0).1.checked_sub(1)?;
        self.keys.get(node).map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut uses = Uses::new();
        assert_eq!(uses.oldest(), None);
        for slot in [3, 1, 2] {
            uses.name(slot, &[slot as u8]);
            uses.touch(slot);
        }
        assert_eq!(uses.oldest(), Some(&[3][..]));
        uses.touch(3);
        assert_eq!(uses.oldest(), Some(&[1][..]));
        uses.forget(1);
        uses.forget(1);
        assert_eq!(uses.oldest(), Some(&[2][..]));
        uses.name(2, b"another");
        assert_eq!(uses.oldest(), Some(&b"another"[..]));
        uses.forget(2);
        uses.forget(3);
        assert_eq!(uses.oldest(), None);
    }
}
