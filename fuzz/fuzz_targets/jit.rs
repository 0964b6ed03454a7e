//! Bytes as the choices of a generator: interpreters and this host's JIT agree.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| common::check(data, &["agreement"]));
