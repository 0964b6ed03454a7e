//! Runs programs on the interpreter, the JITs and the kernel, and compares the runs.

pub mod compare;
pub mod conformance;
pub mod contain;
pub mod engine;
pub mod engines;
pub mod gen;
pub mod kernel;
pub mod native;
pub mod oracle;
pub mod pages;
pub mod pcap;
pub mod peak;
pub mod probe;
pub mod profile;
pub mod raw;
pub mod record;
pub mod rewriting;
pub mod runtime;
pub mod selftests;
pub mod session;
pub mod testrun;
#[cfg(target_os = "linux")]
pub mod trace;
pub mod trust;
#[cfg(unix)]
pub mod vm;
