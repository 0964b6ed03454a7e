//! Values and lattice: what the verifier knows about registers and stack.
//! Knows no instruction and prints nothing.

pub mod arc;
pub mod arith;
pub mod bounds;
pub mod circular;
pub mod circular_compare;
pub mod coerce;
pub mod compare;
pub mod division;
mod frames;
pub mod marks;
pub mod plain_compare;
pub mod reg;
mod slots;
pub mod stack;
pub mod state;
pub mod tnum;

#[cfg(test)]
mod tests;
