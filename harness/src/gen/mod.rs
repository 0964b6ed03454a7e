//! Program generators.  Each makes programs for one purpose from a seed; the same seed gives the same program.

pub mod bare;
pub mod loaded;
pub mod rng;
