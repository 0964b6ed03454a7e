//! What a gate makes of judged objects: policy, baselines and report formats.  Knows no engine and no terminal.

pub mod files;
pub mod gate;
pub mod report;
