//! Oracles: what must hold between runs.

pub mod agreement;
pub mod native;
pub mod packets;
