//! Any bytes as a loader's output: every program in it gets a story.
#![no_main]

use bpfassay_diag::read::read;
use bpfassay_diag::story::Story;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for program in &read(data.to_vec()).programs {
        let _ = Story::of(program);
    }
});
