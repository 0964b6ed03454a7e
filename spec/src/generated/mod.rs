//! Tables written by `cargo run -p bpfassay-xtask -- gen`.

#![allow(unused_imports)]

#[rustfmt::skip]
pub mod callers;
#[rustfmt::skip]
pub mod helpers;
#[rustfmt::skip]
pub mod jit;
#[rustfmt::skip]
pub mod kernels;
#[rustfmt::skip]
pub mod ctx;
#[rustfmt::skip]
pub mod progs;
#[rustfmt::skip]
pub mod retvals;
#[rustfmt::skip]
pub mod kfuncs;
#[rustfmt::skip]
pub mod sets;
#[rustfmt::skip]
pub mod func;
#[rustfmt::skip]
pub mod layouts;
#[rustfmt::skip]
pub mod lines;
#[rustfmt::skip]
pub mod tracing;
#[rustfmt::skip]
pub mod map_uses;
#[rustfmt::skip]
pub mod maps;
#[rustfmt::skip]
pub mod messages;
