//! Any bytes as an object: loaded against a kernel whose types are known in full, and in part.
#![no_main]

use std::sync::{Arc, OnceLock};

use bpfassay_object::btf::Btf;
use bpfassay_object::{Fact, Opened, Target};
use libfuzzer_sys::fuzz_target;

fn kernel() -> &'static Arc<Btf> {
    static KERNEL: OnceLock<Arc<Btf>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let blob = include_bytes!("../../object/tests/data/kernel.btf");
        Arc::new(Btf::parse(blob, None).unwrap_or_default())
    })
}

fn link(opened: &Opened, btf: Option<&Arc<Btf>>) {
    let nothing = Arc::new(Btf::empty());
    let target = Target {
        btf,
        kconfig: &|_| Fact::Known("y".to_string()),
        symbols: &|_| Fact::Known(1),
        ..Target::of_btf(&nothing, 0x06122c)
    };
    drop(opened.link(&target));
}

fuzz_target!(|data: &[u8]| {
    let Ok(opened) = Opened::parse(data, "fuzz.o") else { return };
    link(&opened, Some(kernel()));
    link(&opened, None);
    // Its own types as the kernel's: everything matches, so that more is relocated.
    if let Some(own) = opened.btf() {
        link(&opened, Some(&Arc::new(own.clone())));
    }
});
