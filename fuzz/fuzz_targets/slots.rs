//! Any instruction slots as a program: the verifier answers, and what it accepts does not trap.
#![no_main]

use std::sync::OnceLock;

use bpfassay_campaign::case::Case;
use bpfassay_campaign::oracle::{named, target, Judged};
use bpfassay_campaign::source::Source;
use bpfassay_isa::RawInsn;
use bpfassay_judge::Target;
use libfuzzer_sys::fuzz_target;

/// What the program is loaded as, and what it runs on: the simplest case's.
fn around() -> &'static (Target, Case) {
    static AROUND: OnceLock<(Target, Case)> = OnceLock::new();
    AROUND.get_or_init(|| {
        let kernel = target("6.18").expect("a kernel that is served");
        (kernel, Source::Choices(Vec::new()).case())
    })
}

fuzz_target!(|data: &[u8]| {
    let slots = data.chunks_exact(8).filter_map(|c| c.try_into().ok()).map(RawInsn::from_le_bytes);
    let (kernel, simplest) = around();
    let case = simplest.with_insns(slots.take(4096).collect());
    let config = kernel.config();
    let judged = Judged::new(&case, &config);
    let finding = named("no-trap", &[]).and_then(|mut oracle| oracle.check(&judged));
    assert!(finding.is_none(), "{finding:?}\n{}", case.text());
});
