//! Oracles: what must hold between runs.

pub mod agreement;
pub mod bundled;
pub mod native;
pub mod packets;
pub mod reasons;
