//! The other way: from a kernel's BTF to what differs from a base.  The packer and the tests use it; judging does not.

use std::collections::hash_map::DefaultHasher;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::delta::{apply, put, zigzag, Broken, Run};
use crate::raw::{self, Blob, Role};

/// What differs between two blobs, so that [`apply`] gives back `own`.
///
/// # Errors
/// A blob that is not laid out as kernels write it, or whose strings stand twice.
pub fn delta(base: &[u8], own: &[u8]) -> Result<Vec<u8>, Broken> {
    let out = encode(&raw::parse(base)?, &raw::parse(own)?);
    match apply(base, &out)? == own {
        true => Ok(out),
        false => Err("the blob does not come back; does a string stand twice?"),
    }
}

fn encode(base: &Blob<'_>, own: &Blob<'_>) -> Vec<u8> {
    let base_of = align(base, own);
    let names = |blob: &Blob<'_>| -> Vec<u32> {
        let mut index = vec![u32::MAX; blob.strings.len()];
        for (i, start) in blob.string_offsets().iter().enumerate() {
            index[*start as usize] = i as u32;
        }
        index
    };
    let own_index = names(own);
    let (mut ops, mut text) = (Vec::new(), Vec::new());
    strings(base, own, &mut ops, &mut text);
    let (mut runs, mut fields) = (Vec::new(), Vec::new());
    let mut pending: Option<(Run, u32, u32)> = None;
    let mut next = 1u32;
    let mut close = |run: Option<(Run, u32, u32)>, runs: &mut Vec<u8>| {
        let Some((kind, start, count)) = run else { return };
        let head = Run::ALL.iter().position(|r| *r == kind).unwrap_or(0) as u64;
        put(runs, u64::from(count) * 3 + head);
        if kind != Run::New {
            put(runs, zigzag(i64::from(start) - i64::from(next)));
            next = start + count;
        }
    };
    for id in 1..=own.types.len() as u32 {
        let at = base_of[id as usize];
        let kind = match at {
            0 => Run::New,
            _ if same(base, own, at, id, &base_of) => Run::Same,
            _ => Run::Changed,
        };
        if kind != Run::Same {
            literal(own, id, &own_index, &mut fields);
        }
        pending = match pending {
            Some((k, start, count)) if k == kind && (k == Run::New || start + count == at) => {
                Some((k, start, count + 1))
            }
            other => {
                close(other, &mut runs);
                Some((kind, at, 1))
            }
        };
    }
    close(pending, &mut runs);
    let mut out = Vec::new();
    for part in [ops, runs, fields, text] {
        put(&mut out, part.len() as u64);
        out.extend(part);
    }
    out
}

/// True if the record is the base's but for the places of strings and types.
fn same(base: &Blob<'_>, own: &Blob<'_>, at: u32, id: u32, base_of: &[u32]) -> bool {
    let (a, b) = (base.record(at), own.record(id));
    a.len() == b.len()
        && a[1] == b[1]
        && a.iter().zip(b).zip(raw::roles(b)).all(|((x, y), role)| match role {
            Role::Name => base.string(*x) == own.string(*y),
            Role::Type => base_of[*y as usize] == *x && (*x != 0) == (*y != 0),
            Role::Value => x == y,
        })
}

fn literal(own: &Blob<'_>, id: u32, index: &[u32], out: &mut Vec<u8>) {
    let record = own.record(id);
    put(out, u64::from(record[1]));
    for (i, (word, role)) in record.iter().zip(raw::roles(record)).enumerate() {
        match role {
            _ if i == 1 => {}
            Role::Name => put(out, u64::from(index[*word as usize])),
            Role::Type if *word == 0 => put(out, 0),
            Role::Type => put(out, zigzag(i64::from(id) - i64::from(*word)) + 1),
            Role::Value => put(out, u64::from(*word)),
        }
    }
}

/// Strings as runs of the base's and new ones.
fn strings(base: &Blob<'_>, own: &Blob<'_>, ops: &mut Vec<u8>, text: &mut Vec<u8>) {
    let starts = base.string_offsets();
    let place: HashMap<&[u8], usize> =
        starts.iter().enumerate().map(|(i, s)| (base.string(*s), i)).collect();
    let wanted: Vec<&[u8]> = own.string_offsets().iter().map(|s| own.string(*s)).collect();
    let (mut i, mut next) = (0, 0i64);
    while i < wanted.len() {
        let first = place.get(wanted[i]).copied();
        let mut copied = 0;
        if let Some(first) = first {
            let follows = |n: usize| {
                starts.get(first + n).is_some_and(|s| wanted.get(i + n) == Some(&base.string(*s)))
            };
            while follows(copied) {
                copied += 1;
            }
        }
        put(ops, zigzag(first.unwrap_or(next as usize) as i64 - next));
        put(ops, copied as u64);
        next = first.unwrap_or(next as usize) as i64 + copied as i64;
        i += copied;
        let new = wanted[i..].iter().take_while(|s| !place.contains_key(**s)).count();
        put(ops, new as u64);
        for s in &wanted[i..i + new] {
            text.extend_from_slice(s);
            text.push(0);
        }
        i += new;
    }
}

/// For each type of `own` (type 0 first) the type of `base` that it is, 0 where it is none.
///
/// Types are matched by what they look like four references deep, then one deep, then alone, always taking the next
/// one behind the last match: kernels of one family list their types in much the same order.
fn align(base: &Blob<'_>, own: &Blob<'_>) -> Vec<u32> {
    let mut out = vec![0u32; own.types.len() + 1];
    let mut taken = vec![false; base.types.len() + 1];
    for depth in [4, 1, 0] {
        let mut at: HashMap<u64, Vec<u32>> = HashMap::new();
        for (id, look) in looks(base, depth).into_iter().enumerate().skip(1) {
            if !taken[id] {
                at.entry(look).or_default().push(id as u32);
            }
        }
        let mut last = 0;
        for (id, look) in looks(own, depth).into_iter().enumerate().skip(1) {
            if out[id] != 0 {
                last = out[id];
                continue;
            }
            let Some(found) = at.get_mut(&look).filter(|f| !f.is_empty()) else { continue };
            let i = found.partition_point(|f| *f < last).min(found.len() - 1);
            last = found.remove(i);
            out[id] = last;
            taken[last as usize] = true;
        }
    }
    out
}

/// A hash of each type with the types it refers to, `depth` references deep; type 0 first.
fn looks(blob: &Blob<'_>, depth: u32) -> Vec<u64> {
    let ids = 1..=blob.types.len() as u32;
    let hash = |id: u32, of: Option<&[u64]>| {
        let mut h = DefaultHasher::new();
        let record = blob.record(id);
        for (word, role) in record.iter().zip(raw::roles(record)) {
            match (role, of) {
                (Role::Name, _) => blob.string(*word).hash(&mut h),
                (Role::Value, _) => word.hash(&mut h),
                (Role::Type, Some(of)) => of[*word as usize].hash(&mut h),
                (Role::Type, None) => {}
            }
        }
        h.finish()
    };
    let mut out: Vec<u64> =
        std::iter::once(0).chain(ids.clone().map(|id| hash(id, None))).collect();
    for _ in 0..depth {
        out = std::iter::once(0).chain(ids.clone().map(|id| hash(id, Some(&out)))).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::delta;
    use crate::raw::assemble;

    /// `typedef int NAME`, a pointer to it, and a struct with that pointer, in the order asked for.
    fn blob(int_first: bool, name: &str) -> Vec<u8> {
        let strings = format!("\0int\0{name}\0s\0p\0");
        let off = |s: &str| strings.find(&format!("\0{s}\0")).map_or(0, |i| i as u32 + 1);
        let int = [off("int"), 1 << 24, 4, 32];
        let (int_id, def_id) = if int_first { (1, 2) } else { (4, 1) };
        let def = [off(name), 8 << 24, int_id];
        let ptr = [0, 2 << 24, def_id];
        let s = [off("s"), 4 << 24 | 1, 8, off("p"), if int_first { 3 } else { 2 }, 0];
        let mut words = Vec::new();
        if int_first {
            words.extend(int);
        }
        words.extend(def);
        words.extend(ptr);
        words.extend(s);
        if !int_first {
            words.extend(int);
        }
        assemble(&words, strings.as_bytes())
    }

    #[test]
    fn a_blob_comes_back_though_its_types_have_other_numbers() {
        let (a, b) = (blob(true, "t"), blob(false, "t"));
        let small = delta(&a, &b).expect("both are BTF");
        assert!(small.len() < 24, "all four types are the base's, yet {} bytes", small.len());
        delta(&a, &blob(false, "other")).expect("a changed name is told");
        delta(&b, &a).expect("either way");
    }

    #[test]
    fn what_is_no_kernel_btf_is_refused() {
        let a = blob(true, "t");
        assert!(delta(&a, &a[..a.len() - 1]).is_err());
        assert!(delta(&a[1..], &a).is_err());
    }
}
