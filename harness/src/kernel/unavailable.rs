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

/// Can be made, and answers every question with [`KernelError::Unavailable`].
#[derive(Debug, Default)]
pub struct Session {}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    pub fn judge(&mut self, _program: &Program, _options: &LoadOptions) -> Result<LoadOutcome, KernelError> {
        Err(KernelError::Unavailable)
    }

    pub fn load(
        &mut self,
        _program: &Program,
        _options: &LoadOptions,
    ) -> Result<(LoadOutcome, Option<Loaded>), KernelError> {
        Err(KernelError::Unavailable)
    }
}

pub fn release() -> Result<String, KernelError> {
    Err(KernelError::Unavailable)
}
