//! The interpreter against this host's JIT on random bare programs.
#![allow(unsafe_code)]

use crate::engine::{Input, Instance};
use crate::engines::native::RawNative;
use crate::gen::bare;
use crate::gen::rng::Rng;
use crate::raw::RawInterp;

/// Runs the program of a seed on both; the error is for people.
///
/// # Safety
/// The programs end and stay within their memory if both engines are right; if not, they may do
/// anything.
pub unsafe fn agree(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(!seed);
    let len = [10, 30, 60, 200][(seed & 3) as usize];
    let insns = bare::program(seed, len);
    let data: Vec<u8> = (0..bare::MEMORY).map(|_| rng.next_u64() as u8).collect();
    let input = Input { data, ..Input::default() };
    let want = RawInterp::new(&insns).run(&input);
    if let Some(trap) = want.trap {
        return Err(format!("the interpreter traps: {trap}"));
    }
    let blind = (seed % 5 == 4).then_some(seed);
    // SAFETY: the caller's promise.
    let mut native =
        unsafe { RawNative::new(&insns, blind) }.map_err(|e| format!("not compiled: {e}"))?;
    let got = native.run(&input);
    match got.trap {
        Some(trap) => Err(format!("the JIT traps: {trap}")),
        None if got.r0 != want.r0 => Err(format!("r0 {:#x}, not {:#x}", got.r0, want.r0)),
        None if got.data_out != want.data_out => Err("memory differs".to_string()),
        None => Ok(()),
    }
}
