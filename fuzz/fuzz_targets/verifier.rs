//! Bytes as the choices of a generator: what the verifier accepts traps nowhere and stays in the states it had.
#![no_main]

use std::sync::OnceLock;

use bpfassay_campaign::oracle::{named, target, Judged};
use bpfassay_campaign::source::Source;
use bpfassay_judge::Target;
use libfuzzer_sys::fuzz_target;

fn kernel() -> &'static Target {
    static KERNEL: OnceLock<Target> = OnceLock::new();
    KERNEL.get_or_init(|| target("6.18").expect("a kernel that is served"))
}

fuzz_target!(|data: &[u8]| {
    let case = Source::Bytes(data.to_vec()).case();
    let config = kernel().config();
    let judged = Judged::new(&case, &config);
    for name in ["no-trap", "containment"] {
        let finding = named(name, &[]).and_then(|mut oracle| oracle.check(&judged));
        assert!(finding.is_none(), "{finding:?}\n{}", case.text());
    }
});
