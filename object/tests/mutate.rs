//! Damaged objects: an answer every time, soon, and never a panic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bpfassay_object::btf::Btf;
use bpfassay_object::{Fact, Opened, Target};
use proptest::prelude::*;

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const OBJECTS: [&str; 3] = ["core.o", "calls.o", "maps.o"];

/// Loads against a kernel made of `btf`, and against one of unknown types.
fn load(bytes: &[u8], btf: &Arc<Btf>) {
    let start = Instant::now();
    if let Ok(opened) = Opened::parse(bytes, "damaged.o") {
        for known in [Some(btf), None] {
            let target = Target {
                btf: known,
                kconfig: &|_| Fact::Known("5".to_string()),
                symbols: &|_| Fact::Known(1),
                ..Target::of_btf(btf, 0x06122c)
            };
            let object = opened.link(&target);
            for program in object.programs.iter().filter_map(|e| e.program.as_ref().ok()) {
                assert!(!program.insns.is_empty());
                assert!(program.insns.len() < 1 << 23);
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

/// One change: where (as a fraction of the length) and what.
#[derive(Clone, Debug)]
enum Change {
    Byte(f64, u8),
    Word(f64, u32),
    /// Copies a stretch over another.
    Copy(f64, f64, usize),
    Cut(f64),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        Just(0u32),
        Just(1),
        Just(u32::MAX),
        Just(0x8000_0000),
        Just(0x7fff_ffff),
        Just(0xffff),
        0u32..300,
        any::<u32>(),
    ];
    prop_oneof![
        4 => (0.0..1.0f64, any::<u8>()).prop_map(|(at, b)| Change::Byte(at, b)),
        6 => (0.0..1.0f64, word).prop_map(|(at, w)| Change::Word(at, w)),
        1 => (0.0..1.0f64, 0.0..1.0f64, 1usize..200).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
        1 => (0.0..1.0f64).prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len();
    let place = |f: f64| ((f * len as f64) as usize).min(len.saturating_sub(1));
    match change {
        Change::Byte(at, b) => {
            if let Some(x) = bytes.get_mut(place(*at)) {
                *x = *b;
            }
        }
        Change::Word(at, w) => {
            let at = place(*at) & !3;
            if let Some(x) = bytes.get_mut(at..at + 4) {
                x.copy_from_slice(&w.to_le_bytes());
            }
        }
        Change::Copy(from, to, n) => {
            let (from, to) = (place(*from), place(*to));
            let n = (*n).min(len - from.max(to));
            bytes.copy_within(from..from + n, to);
        }
        Change::Cut(at) => bytes.truncate(place(*at)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_objects_get_an_answer(which in 0usize..3, changes in prop::collection::vec(change(), 1..6)) {
        let kernel = Arc::new(Btf::parse(&data("kernel.btf"), None).unwrap());
        let mut bytes = data(OBJECTS[which]);
        changes.iter().for_each(|c| apply(&mut bytes, c));
        load(&bytes, &kernel);
    }

    #[test]
    fn damaged_kernel_btf_gets_an_answer(which in 0usize..3, changes in prop::collection::vec(change(), 1..4)) {
        let mut bytes = data("kernel.btf");
        changes.iter().for_each(|c| apply(&mut bytes, c));
        if let Ok(btf) = Btf::parse(&bytes, None) {
            let _ = btf.kernel_check();
            for id in 0..btf.type_count() {
                let _ = (btf.size_of(id), btf.align_of(id), btf.show_name(id), btf.resolve(id).map(|t| t.id()));
            }
            load(&data(OBJECTS[which]), &Arc::new(btf));
        }
    }
}

#[test]
fn every_truncation_gets_an_answer() {
    let kernel = Arc::new(Btf::parse(&data("kernel.btf"), None).unwrap());
    let bytes = data("maps.o");
    for len in (0..bytes.len()).step_by(7) {
        load(&bytes[..len], &kernel);
    }
}

#[test]
fn sizes_the_file_only_claims_cost_nothing() {
    // `.bss` of almost 4 GiB: the header is the one whose type is NOBITS.
    let mut bytes = data("maps.o");
    let shoff = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes(bytes[60..62].try_into().unwrap()) as usize;
    let bss = (0..count).map(|i| shoff + i * 64).find(|h| bytes[h + 4] == 8).unwrap();
    bytes[bss + 32..bss + 40].copy_from_slice(&0xffff_fff0u64.to_le_bytes());
    let kernel = Arc::new(Btf::parse(&data("kernel.btf"), None).unwrap());
    load(&bytes, &kernel);
    bytes[bss + 32..bss + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(Opened::parse(&bytes, "x.o").is_err());
}
