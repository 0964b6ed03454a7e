//! A smaller BTF that still answers for the types asked for: what a bundled kernel profile carries.
//!
//! A type asked for is kept whole, with everything it holds by value.  What it only points to is
//! kept as a forward declaration, unless it was asked for too.  Sizes, offsets and names stay the
//! kernel's; type ids do not.

use std::collections::{BTreeSet, HashMap};

use super::kind::BtfKind;
use super::lookup::essential_len;
use super::{Btf, Type};

/// How much of a type is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Keep {
    No,
    /// Structs and unions as forward declarations.
    Declared,
    Whole,
}

impl Btf {
    /// Types whose name, with or without `___flavour`, is in `names`, and what they hold.
    /// Own types only; a base is not searched.
    pub fn subset(&self, names: &BTreeSet<String>) -> Btf {
        let mut walk = Walk { btf: self, keep: vec![Keep::No; self.type_count() as usize] };
        for t in self.own_types() {
            let name = t.name();
            let essential = &name[..essential_len(name.as_bytes()).min(name.len())];
            if !name.is_empty() && (names.contains(name) || names.contains(essential)) {
                walk.root(t);
            }
        }
        walk.write()
    }
}

struct Walk<'a> {
    btf: &'a Btf,
    keep: Vec<Keep>,
}

impl<'a> Walk<'a> {
    fn root(&mut self, t: Type<'a>) {
        self.visit(t.id(), Keep::Whole);
        if t.kind() != BtfKind::Func {
            return;
        }
        // What a kernel function takes is looked into, not only passed on.
        let Some(proto) = t.target() else { return };
        let pointees: Vec<u32> =
            proto.params().map(|p| p.type_id).chain([proto.type_id()]).collect();
        for id in pointees {
            if let Some(target) = self.btf.pointee(id) {
                self.visit(target.id(), Keep::Whole);
            }
        }
    }

    fn visit(&mut self, root: u32, how: Keep) {
        let mut todo = vec![(root, how)];
        while let Some((id, how)) = todo.pop() {
            let Some(t) = self.btf.ty(id).filter(|_| id != 0) else { continue };
            let Some(slot) = self.keep.get_mut(id as usize) else { continue };
            let composite = matches!(t.kind(), BtfKind::Struct | BtfKind::Union);
            // Nothing declares a struct that has no name.
            let how = if composite && t.name().is_empty() { Keep::Whole } else { how };
            if *slot >= how {
                continue;
            }
            *slot = how;
            match t.kind() {
                BtfKind::Struct | BtfKind::Union if how == Keep::Whole => {
                    todo.extend(t.members().map(|m| (m.type_id, Keep::Whole)));
                }
                BtfKind::Ptr => todo.push((t.type_id(), Keep::Declared)),
                BtfKind::Array => {
                    if let Some(a) = t.array() {
                        todo.extend([(a.elem, how), (a.index, Keep::Whole)]);
                    }
                }
                BtfKind::FuncProto => {
                    todo.push((t.type_id(), Keep::Declared));
                    todo.extend(t.params().map(|p| (p.type_id, Keep::Declared)));
                }
                BtfKind::Typedef
                | BtfKind::Const
                | BtfKind::Volatile
                | BtfKind::Restrict
                | BtfKind::TypeTag
                | BtfKind::Func
                | BtfKind::Var => todo.push((t.type_id(), how)),
                _ => {}
            }
        }
    }

    fn write(&self) -> Btf {
        let mut out = Writer { btf: Btf::empty(), strings: HashMap::new(), ids: HashMap::new() };
        let kept = |id: u32| self.keep.get(id as usize).is_some_and(|k| *k != Keep::No);
        let marks = |t: &Type<'_>| match t.kind() {
            BtfKind::DeclTag => kept(t.type_id()),
            BtfKind::Datasec => t.vars().any(|v| kept(v.type_id)),
            _ => kept(t.id()),
        };
        let order: Vec<Type<'_>> = self.btf.own_types().filter(marks).collect();
        for t in &order {
            out.ids.insert(t.id(), out.ids.len() as u32 + 1);
        }
        for t in order {
            let declared = self.keep.get(t.id() as usize) == Some(&Keep::Declared)
                && matches!(t.kind(), BtfKind::Struct | BtfKind::Union);
            if declared {
                out.declare(t);
            } else {
                out.copy(t);
            }
        }
        out.btf
    }
}

struct Writer {
    btf: Btf,
    strings: HashMap<String, u32>,
    /// Old id to new id.
    ids: HashMap<u32, u32>,
}

impl Writer {
    fn string(&mut self, s: &str) -> u32 {
        if s.is_empty() {
            return 0;
        }
        if let Some(off) = self.strings.get(s) {
            return *off;
        }
        let off = self.btf.append_str(s);
        self.strings.insert(s.to_string(), off);
        off
    }

    fn id(&self, old: u32) -> u32 {
        self.ids.get(&old).copied().unwrap_or(0)
    }

    fn declare(&mut self, t: Type<'_>) {
        let name = self.string(t.name());
        let union = t.kind() == BtfKind::Union;
        self.btf.push_words(&[name, u32::from(union) << 31 | (BtfKind::Fwd as u32) << 24, 0]);
    }

    fn copy(&mut self, t: Type<'_>) {
        let from = t.btf();
        let old = t.words();
        let mut words = old.to_vec();
        words[0] = self.string(t.name());
        let mut info = t.info();
        match t.kind() {
            BtfKind::Array => {
                words[3] = self.id(old[3]);
                words[4] = self.id(old[4]);
            }
            BtfKind::Struct | BtfKind::Union => {
                for m in words[3..].chunks_exact_mut(3) {
                    m[0] = self.string(from.str(m[0]));
                    m[1] = self.id(m[1]);
                }
            }
            BtfKind::Enum => {
                words[3..].chunks_exact_mut(2).for_each(|e| e[0] = self.string(from.str(e[0])));
            }
            BtfKind::Enum64 => {
                words[3..].chunks_exact_mut(3).for_each(|e| e[0] = self.string(from.str(e[0])));
            }
            BtfKind::FuncProto => {
                words[2] = self.id(old[2]);
                for p in words[3..].chunks_exact_mut(2) {
                    p[0] = self.string(from.str(p[0]));
                    p[1] = self.id(p[1]);
                }
            }
            BtfKind::Datasec => {
                let vars: Vec<u32> = old[3..]
                    .chunks_exact(3)
                    .filter(|v| self.ids.contains_key(&v[0]))
                    .flat_map(|v| [self.id(v[0]), v[1], v[2]])
                    .collect();
                info = info & !0xffff | (vars.len() / 3) as u32;
                words.truncate(3);
                words.extend(vars);
            }
            BtfKind::Int | BtfKind::Float | BtfKind::Fwd => {}
            _ => words[2] = self.id(old[2]),
        }
        words[1] = info;
        self.btf.push_words(&words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::int_encoding;

    /// `struct inner { int a; }; struct other { int b; }; struct outer { struct inner in; struct other *p; };`
    fn sample() -> Btf {
        let mut b = Btf::empty();
        let int = b.add_int("int", 4, int_encoding::SIGNED);
        let inner = b.add_composite("inner", BtfKind::Struct, 4, &[("a", int, 0)]);
        let other = b.add_composite("other", BtfKind::Struct, 4, &[("b", int, 0)]);
        let ptr = b.add_ref("", BtfKind::Ptr, other);
        b.add_composite("outer", BtfKind::Struct, 16, &[("in", inner, 0), ("p", ptr, 64)]);
        b.add_composite("unasked", BtfKind::Struct, 4, &[("c", int, 0)]);
        b
    }

    #[test]
    fn values_are_kept_whole_and_pointees_declared() {
        let names = BTreeSet::from(["outer".to_string()]);
        let small = Btf::parse(&sample().subset(&names).to_bytes(), None).expect("valid");
        let outer = small.find_by_name_kind("outer", BtfKind::Struct).expect("asked for");
        assert_eq!(small.size_of(outer), Some(16));
        assert!(small.find_by_name_kind("inner", BtfKind::Struct).is_some());
        assert!(small.find_by_name_kind("other", BtfKind::Struct).is_none());
        assert!(small.find_by_name_kind("other", BtfKind::Fwd).is_some());
        assert!(small.find_by_name("unasked").next().is_none());
    }

    #[test]
    fn a_pointee_asked_for_is_whole() {
        let names = BTreeSet::from(["outer".to_string(), "other".to_string()]);
        let small = sample().subset(&names);
        assert!(small.find_by_name_kind("other", BtfKind::Struct).is_some());
    }
}
