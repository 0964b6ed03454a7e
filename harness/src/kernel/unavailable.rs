//! Stand-ins for systems without bpf().

use bpfassay_object::model::Program;

use super::{KernelError, LoadOptions, LoadOutcome, TestRun, TestRunResult};

/// Never built here.
#[derive(Debug)]
pub enum Loaded {}

impl Loaded {
    pub fn test_run(&self, _input: &TestRun<'_>) -> Result<TestRunResult, KernelError> {
        match *self {}
    }
}

pub fn load(
    _program: &Program,
    _btf: Option<&[u8]>,
    _options: &LoadOptions,
) -> Result<(LoadOutcome, Option<Loaded>), KernelError> {
    Err(KernelError::Unavailable)
}

pub fn judge(_program: &Program, _btf: Option<&[u8]>, _options: &LoadOptions) -> Result<LoadOutcome, KernelError> {
    Err(KernelError::Unavailable)
}

pub fn release() -> Result<String, KernelError> {
    Err(KernelError::Unavailable)
}
