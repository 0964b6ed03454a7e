//! What targets share whose bytes are the choices of a generator.

use std::sync::OnceLock;

use bpfassay_campaign::oracle::{named, target, Judged, ENGINES};
use bpfassay_campaign::source::Source;
use bpfassay_judge::Target;

/// Makes the program that the bytes choose and holds it against the oracles.
///
/// # Panics
/// With the program where one of them finds something.
pub fn check(data: &[u8], oracles: &[&str]) {
    static KERNEL: OnceLock<Target> = OnceLock::new();
    let kernel = KERNEL.get_or_init(|| target("6.18").expect("a kernel that is served"));
    let case = Source::Bytes(data.to_vec()).case();
    let config = kernel.config();
    let judged = Judged::new(&case, &config);
    for name in oracles {
        let oracle = named(name, &ENGINES.map(str::to_string));
        let finding = oracle.and_then(|mut oracle| oracle.check(&judged));
        assert!(finding.is_none(), "{finding:?}\n{}", case.text());
    }
}
