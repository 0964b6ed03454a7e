//! The rows that hold for one release, by number: what a [`Kernel`](crate::Kernel) answers from.

use crate::generated::helpers::{HelperTraits, NAMES, TRAITS};
use crate::generated::map_uses::{HELPER_MAPS, MAP_USES};
use crate::generated::progs::PROGS;
use crate::map_use::MapUse;
use crate::prog::ProgInfo;
use crate::release::Release;

/// Map types fit into the bits of [`HelperRow::maps`].
const MAPS: usize = 64;

/// What holds for a helper whatever program calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HelperRow {
    pub name: &'static str,
    pub traits: HelperTraits,
    /// Bit per number of a map type that it takes.
    pub maps: u64,
}

/// Resolved once for a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub at: Release,
    /// By number, up to the highest that the release has.
    pub helpers: Vec<HelperRow>,
    pub maps: Vec<Option<&'static MapUse>>,
    pub progs: Vec<Option<&'static ProgInfo>>,
}

/// A release has one set of rows.
impl PartialEq for Tables {
    fn eq(&self, other: &Tables) -> bool {
        self.at == other.at
    }
}

impl Eq for Tables {}

impl Tables {
    pub fn resolve(at: Release) -> Tables {
        let present = NAMES.iter().take_while(|(_, span)| span.holds(at));
        let row = |name| HelperRow { name, traits: HelperTraits::default(), maps: u64::MAX };
        let mut tables = Tables {
            at,
            helpers: present.map(|(name, _)| row(*name)).collect(),
            maps: vec![None; MAPS],
            progs: vec![None; PROGS.len() + 1],
        };
        for (which, helper, _) in TRAITS.iter().filter(|(_, _, span)| span.holds(at)) {
            if let Some(row) = tables.helpers.get_mut(usize::from(*helper)) {
                row.traits.set(*which);
            }
        }
        for map in MAP_USES.iter().filter(|m| m.span.holds(at)) {
            tables.add_map(map);
        }
        for (helpers, maps) in HELPER_MAPS {
            let mask = maps.iter().fold(0, |mask, m| mask | 1u64 << m.number());
            for helper in *helpers {
                if let Some(row) = tables.helpers.get_mut(usize::from(*helper)) {
                    row.maps &= mask;
                }
            }
        }
        for prog in PROGS.iter().filter(|p| p.span.holds(at)) {
            let slot = tables.progs.get_mut(prog.prog_type.number() as usize);
            slot.into_iter().for_each(|s| *s = Some(prog));
        }
        tables
    }

    fn add_map(&mut self, map: &'static MapUse) {
        let number = map.map_type.number() as usize;
        if let Some(slot) = self.maps.get_mut(number) {
            *slot = Some(map);
        }
        let Some(only) = map.helpers else { return };
        for (id, row) in self.helpers.iter_mut().enumerate() {
            if !only.iter().any(|h| usize::from(*h) == id) {
                row.maps &= !(1 << number);
            }
        }
    }
}
