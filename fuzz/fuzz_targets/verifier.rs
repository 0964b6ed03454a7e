//! Bytes as the choices of a generator: what the verifier accepts traps nowhere and stays in the states it had.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| common::check(data, &["no-trap", "containment"]));
