//! What a gate makes of judged objects: policy, baselines and report formats.  Knows no engine and no terminal.

pub mod gate;
pub mod report;
