//! Variables and their places, out of DWARF 4 and 5.

use std::ops::Range;

use gimli::{
    AttributeValue, DebuggingInformationEntry, Dwarf, EndianSlice, Expression, LittleEndian,
    Operation, Unit, UnitOffset,
};

use super::sections::Sections;
use super::{Spot, Variable};

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a, 'u> = DebuggingInformationEntry<'u, 'u, Reader<'a>>;

/// Types are looked through this deep, and origins followed this far.
const DEEPEST: usize = 16;

/// Every variable that is somewhere; what cannot be read is left out.
pub fn variables(sections: &Sections) -> Vec<Variable> {
    let load = |id: gimli::SectionId| Ok::<_, gimli::Error>(sections.relocated(id.name()));
    let mut out = Vec::new();
    let Ok(owned) = gimli::DwarfSections::load(load) else { return out };
    let dwarf = owned.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        let Ok(unit) = dwarf.unit(header) else { continue };
        // A unit that ends in the middle has what was read of it.
        let _ = of_unit(&dwarf, &unit, &mut out);
    }
    out
}

/// Addresses of a scope around the entries being read.
struct Scope {
    depth: isize,
    ranges: Vec<Range<u64>>,
}

fn of_unit(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    out: &mut Vec<Variable>,
) -> gimli::Result<()> {
    let mut scopes: Vec<Scope> = Vec::new();
    let mut depth = 0;
    let mut entries = unit.entries();
    while let Some((delta, entry)) = entries.next_dfs()? {
        depth += delta;
        while scopes.last().is_some_and(|s| s.depth >= depth) {
            scopes.pop();
        }
        match entry.tag() {
            gimli::DW_TAG_subprogram
            | gimli::DW_TAG_lexical_block
            | gimli::DW_TAG_inlined_subroutine => {
                let mut ranges = Vec::new();
                let mut found = dwarf.die_ranges(unit, entry)?;
                while let Some(r) = found.next()? {
                    ranges.push(r.begin..r.end);
                }
                scopes.push(Scope { depth, ranges });
            }
            gimli::DW_TAG_variable | gimli::DW_TAG_formal_parameter => {
                // One that cannot be read takes no other with it.
                out.extend(variable(dwarf, unit, entry, &scopes, depth).ok().flatten());
            }
            _ => {}
        }
    }
    Ok(())
}

/// A variable that is somewhere.
fn variable(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    entry: &Entry<'_, '_>,
    scopes: &[Scope],
    depth: isize,
) -> gimli::Result<Option<Variable>> {
    let places = places(dwarf, unit, entry, scopes)?;
    if places.is_empty() {
        return Ok(None);
    }
    let Some(name) = name(dwarf, unit, entry)? else { return Ok(None) };
    let depth = usize::try_from(depth).unwrap_or(0);
    let mut v = Variable { name, size: None, count: None, composite: None, depth, places };
    if let Some(AttributeValue::UnitRef(at)) = of_origin(unit, entry, gimli::DW_AT_type)? {
        describe(dwarf, unit, at, &mut v)?;
    }
    Ok(Some(v))
}

/// An attribute of an entry, or of the one it is a copy of.
fn of_origin<'a>(
    unit: &Unit<Reader<'a>>,
    entry: &Entry<'a, '_>,
    attribute: gimli::DwAt,
) -> gimli::Result<Option<AttributeValue<Reader<'a>>>> {
    let mut own = entry.clone();
    for _ in 0..DEEPEST {
        if let Some(value) = own.attr_value(attribute)? {
            return Ok(Some(value));
        }
        let origin = own.attr_value(gimli::DW_AT_abstract_origin)?;
        let Some(AttributeValue::UnitRef(at)) = origin else { return Ok(None) };
        own = unit.entry(at)?;
    }
    Ok(None)
}

fn name(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    entry: &Entry<'_, '_>,
) -> gimli::Result<Option<String>> {
    let Some(value) = of_origin(unit, entry, gimli::DW_AT_name)? else { return Ok(None) };
    let text = dwarf.attr_string(unit, value)?.to_string_lossy().into_owned();
    Ok(Some(text).filter(|t| !t.is_empty()))
}

/// Where the value is, and at which addresses.
fn places(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    entry: &Entry<'_, '_>,
    scopes: &[Scope],
) -> gimli::Result<Vec<(Range<u64>, Spot)>> {
    let mut out = Vec::new();
    match entry.attr_value(gimli::DW_AT_location)? {
        Some(AttributeValue::Exprloc(e)) => {
            let around = scopes.iter().rev().find(|s| !s.ranges.is_empty());
            if let (Some(spot), Some(scope)) = (spot(unit, e)?, around) {
                out.extend(scope.ranges.iter().map(|r| (r.clone(), spot)));
            }
        }
        Some(value) => {
            let Some(at) = dwarf.attr_locations_offset(unit, value)? else { return Ok(out) };
            let mut list = dwarf.locations(unit, at)?;
            while let Some(e) = list.next()? {
                if let Some(spot) = spot(unit, e.data)? {
                    out.push((e.range.begin..e.range.end, spot));
                }
            }
        }
        None => {}
    }
    Ok(out)
}

/// The place that an expression of one operation names; anything more is no place of the whole value.
fn spot(
    unit: &Unit<Reader<'_>>,
    expression: Expression<Reader<'_>>,
) -> gimli::Result<Option<Spot>> {
    const FRAME: u16 = 10;
    let mut operations = expression.operations(unit.encoding());
    let Some(first) = operations.next()? else { return Ok(None) };
    let is_value = match operations.next()? {
        None => false,
        Some(Operation::StackValue) if operations.next()?.is_none() => true,
        Some(_) => return Ok(None),
    };
    Ok(match first {
        Operation::Register { register } if register.0 <= FRAME && !is_value => {
            Some(Spot::Register(register.0 as u8))
        }
        Operation::RegisterOffset { register, offset: 0, .. } if register.0 < FRAME && is_value => {
            Some(Spot::Register(register.0 as u8))
        }
        Operation::RegisterOffset { register, offset, .. } if register.0 == FRAME && !is_value => {
            Some(Spot::Stack(offset))
        }
        Operation::FrameOffset { offset } if offset < 0 && !is_value => Some(Spot::Stack(offset)),
        Operation::FrameOffset { offset } if !is_value => Some(Spot::Frame(offset)),
        _ => None,
    })
}

/// Size, elements and name of a type.
fn describe(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<Reader<'_>>,
    at: UnitOffset,
    v: &mut Variable,
) -> gimli::Result<()> {
    let mut at = at;
    let mut elements: Option<u64> = None;
    for _ in 0..DEEPEST {
        let entry = unit.entry(at)?;
        let inner = match entry.attr_value(gimli::DW_AT_type)? {
            Some(AttributeValue::UnitRef(inner)) => Some(inner),
            _ => None,
        };
        match entry.tag() {
            gimli::DW_TAG_array_type => {
                let n = elements_of(unit, at)?;
                v.count = v.count.or(n);
                elements = match (elements, n) {
                    (Some(a), Some(b)) => a.checked_mul(b),
                    (a, b) => a.or(b),
                };
            }
            gimli::DW_TAG_typedef
            | gimli::DW_TAG_const_type
            | gimli::DW_TAG_volatile_type
            | gimli::DW_TAG_restrict_type
            | gimli::DW_TAG_atomic_type => {}
            tag => {
                let size = match tag {
                    gimli::DW_TAG_pointer_type => Some(8),
                    _ => entry.attr_value(gimli::DW_AT_byte_size)?.and_then(|s| s.udata_value()),
                };
                v.size = size.and_then(|s| s.checked_mul(elements.unwrap_or(1)));
                let is_composite =
                    matches!(tag, gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type);
                if is_composite && elements.is_none() {
                    v.composite = name(dwarf, unit, &entry)?;
                }
                return Ok(());
            }
        }
        let Some(inner) = inner else { return Ok(()) };
        at = inner;
    }
    Ok(())
}

/// Elements of an array in all its dimensions.
fn elements_of(unit: &Unit<Reader<'_>>, at: UnitOffset) -> gimli::Result<Option<u64>> {
    let mut tree = unit.entries_tree(Some(at))?;
    let mut children = tree.root()?.children();
    let mut product: Option<u64> = None;
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() != gimli::DW_TAG_subrange_type {
            continue;
        }
        let value = |a| Ok::<_, gimli::Error>(entry.attr_value(a)?.and_then(|v| v.udata_value()));
        let n = match value(gimli::DW_AT_count)? {
            Some(n) => Some(n),
            None => value(gimli::DW_AT_upper_bound)?.and_then(|n| n.checked_add(1)),
        };
        let Some(n) = n else { return Ok(None) };
        product = product.unwrap_or(1).checked_mul(n);
    }
    Ok(product)
}
