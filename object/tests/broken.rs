//! Broken objects get an error that says what is wrong, whatever they are broken in.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_object::{load, Target};

#[test]
fn every_broken_object_is_refused_with_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/broken");
    let btf = Arc::new(Btf::empty());
    let target = Target::of_btf(&btf, 0x06122c);
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the folder").flatten() {
        let bytes = fs::read(entry.path()).expect("readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        match load(&bytes, &name, &target) {
            Err(e) => assert!(e.to_string().len() > 10, "{name}: `{e}` says too little"),
            Ok(_) => panic!("{name} was read as a sound object"),
        }
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} broken objects");
}
