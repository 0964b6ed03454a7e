//! What an allowed action does to the state: arithmetic, branches, immediate loads.

pub mod alu;
pub mod branch;
pub mod ld_imm;
pub mod links;
pub mod mark;
pub mod mov;
pub mod null_check;
pub mod ptr_alu;
pub mod sanitize;
