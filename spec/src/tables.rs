//! The rows that hold for one release, by number: what a [`Kernel`](crate::Kernel) answers from.

use crate::callers::Test;
use crate::generated::helpers::{HelperTraits, NAMES, TRAITS};
use crate::generated::map_uses::{HELPER_MAPS, MAP_USES};
use crate::generated::maps::MAPS;
use crate::generated::progs::PROGS;
use crate::generated::sets::SETS;
use crate::generated::tracing::RAW_TP_ARGS;
use crate::generated::{callers, ctx};
use crate::kfunc::Kfunc;
use crate::map_use::MapUse;
use crate::prog::ProgInfo;
use crate::release::{Change, Span};
use crate::view::{RowId, RowKind, View};

/// Map types fit into the bits of [`HelperRow::maps`].
const MAP_NUMBERS: usize = 64;

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
    pub view: View,
    /// By number, up to the highest that the release has.
    pub helpers: Vec<HelperRow>,
    /// By number: not there, though a later one is.  No release has any; a view that takes single rows may.
    pub holes: Vec<bool>,
    pub maps: Vec<Option<&'static MapUse>>,
    pub progs: Vec<Option<&'static ProgInfo>>,
}

/// A view has one set of rows.
impl PartialEq for Tables {
    fn eq(&self, other: &Tables) -> bool {
        self.view == other.view
    }
}

impl Eq for Tables {}

impl Tables {
    pub fn resolve(view: View) -> Tables {
        let has = |(name, span): &(&'static str, Span)| view.holds(RowKind::Helper, name, span);
        let count = NAMES.iter().rposition(has).map_or(0, |last| last + 1);
        let row = |name| HelperRow { name, traits: HelperTraits::default(), maps: u64::MAX };
        let mut tables = Tables {
            helpers: NAMES[..count].iter().map(|(name, _)| row(*name)).collect(),
            maps: vec![None; MAP_NUMBERS],
            progs: vec![None; PROGS.len() + 1],
            view: view.clone(),
            holes: NAMES[..count].iter().map(|name| !has(name)).collect(),
        };
        for (which, helper, _) in TRAITS.iter().filter(|(_, helper, span)| {
            view.holds(RowKind::HelperTrait, helper_name(*helper), span)
        }) {
            if let Some(row) = tables.helpers.get_mut(usize::from(*helper)) {
                row.traits.set(*which);
            }
        }
        for map in
            MAP_USES.iter().filter(|m| view.holds(RowKind::MapType, m.map_type.name(), &m.span))
        {
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
        for prog in
            PROGS.iter().filter(|p| view.holds(RowKind::ProgType, p.prog_type.name(), &p.span))
        {
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

fn helper_name(helper: u16) -> &'static str {
    NAMES.get(usize::from(helper)).map_or("", |(name, _)| name)
}

/// Every dated row of the tables.
pub(crate) fn rows() -> Vec<RowId> {
    let row = |kind, name, span: &Span| RowId { kind, name, span: *span };
    let since = |change: &Change| Span { since: Some(*change), until: None };
    let helpers = NAMES.iter().map(|(name, span)| row(RowKind::Helper, name, span));
    let traits = TRAITS.iter().map(|(_, h, span)| row(RowKind::HelperTrait, helper_name(*h), span));
    let maps = MAP_USES.iter().map(|m| row(RowKind::MapType, m.map_type.name(), &m.span));
    let progs = PROGS.iter().map(|p| row(RowKind::ProgType, p.prog_type.name(), &p.span));
    let sets = SETS.iter().flat_map(|set| {
        let members = set.members.iter().map(|m| row(RowKind::Set, m.name, &m.span));
        members.chain([row(RowKind::Set, set.name, &set.span)])
    });
    let rules = MAPS
        .iter()
        .flat_map(|m| m.rules.iter().map(|r| row(RowKind::MapRule, m.map_type.name(), &r.span)));
    let callers = callers::TABLES.iter().flat_map(|t| t.rules).flat_map(|r| r.tests);
    let ctx = ctx::TABLES.iter().flat_map(|t| t.rules).flat_map(|r| r.tests);
    let kfuncs = Kfunc::all().iter().flat_map(|k| k.tests);
    let programs = PROGS.iter().flat_map(ProgInfo::conditions).flatten();
    let all_tests = callers.chain(ctx).chain(kfuncs).chain(programs);
    let tests = all_tests.filter_map(|(_, test)| match test {
        Test::Since(change, kind, name) => Some(row(*kind, name, &since(change))),
        _ => None,
    });
    let tracepoints = RAW_TP_ARGS.iter().map(|r| row(RowKind::Tracepoint, r.name, &r.span));
    let mut all: Vec<RowId> = helpers
        .chain(traits)
        .chain(maps)
        .chain(progs)
        .chain(sets)
        .chain(rules)
        .chain(tests)
        .chain(tracepoints)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
