use std::path::Path;

use super::{Debug, Variable};
use crate::elf::Elf;

fn debug(path: &str) -> Option<Debug> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(path);
    let bytes = std::fs::read(path).expect("the object is there");
    Debug::of(&Elf::parse(&bytes).expect("it is ELF"))
}

fn named<'a>(debug: &'a Debug, name: &str) -> Vec<&'a Variable> {
    debug.variables().iter().filter(|v| v.name == name).collect()
}

#[test]
fn variables_have_their_types_and_places() {
    let debug = debug("debug/names.o").expect("it has DWARF");
    let local = named(&debug, "local");
    assert_eq!(local.len(), 1, "{:?}", debug.variables());
    assert_eq!((local[0].size, local[0].composite.as_deref()), (Some(16), Some("event")));
    assert_eq!(named(&debug, "found").len(), 1);
    // The inlined function's parameter has its name from the function it is a copy of.
    assert_eq!(named(&debug, "selector").len(), 1);
}

#[test]
fn an_object_without_dwarf_has_none() {
    assert!(debug("objects/v3/reject/map_null.o").is_none());
}
