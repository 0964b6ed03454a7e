//! Stand-ins for systems without bpf().

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_object::Target;
use bpfassay_spec::Caps;

use crate::testrun::MapSlots;

use super::{Element, KernelError, LoadOptions, LoadOutcome, TestRun, TestRunResult};

/// Never built here: there is no kernel to read.
#[derive(Debug)]
pub struct Host {
    pub release: String,
    pub version: u32,
    none: Never,
}

#[derive(Debug)]
enum Never {}

impl Host {
    pub fn read() -> Result<Host, KernelError> {
        Err(KernelError::Unavailable)
    }

    pub fn upstream(&self) -> Option<String> {
        match self.none {}
    }

    pub fn btf(&self) -> &Arc<Btf> {
        match self.none {}
    }

    pub fn modules(&self) -> &[(String, Arc<Btf>)] {
        match self.none {}
    }

    pub fn config(&self) -> Option<&HashMap<String, String>> {
        match self.none {}
    }

    pub fn symbols(&self) -> &BTreeMap<String, u64> {
        match self.none {}
    }

    pub fn possible_cpus(&self) -> u32 {
        match self.none {}
    }

    pub fn with_target<R>(&self, _use_it: impl FnOnce(&Target<'_>) -> R) -> R {
        match self.none {}
    }
}

/// No list here.
pub fn symbols() -> BTreeMap<String, u64> {
    BTreeMap::new()
}

/// Never built here.
#[derive(Debug)]
pub enum Loaded {}

impl Loaded {
    pub fn test_run(&self, _input: &TestRun<'_>) -> Result<TestRunResult, KernelError> {
        match *self {}
    }

    pub fn map_update(
        &self,
        _index: usize,
        _def: &MapDef,
        _key: &[u8],
        _value: &[u8],
    ) -> Result<(), i32> {
        match *self {}
    }

    pub fn xlated(&self) -> Result<Vec<RawInsn>, KernelError> {
        match *self {}
    }

    pub fn jited(&self) -> Result<Vec<u8>, KernelError> {
        match *self {}
    }

    pub fn elements(
        &self,
        _index: usize,
        _def: &MapDef,
        _cpu: u32,
    ) -> Result<Option<Vec<Element>>, KernelError> {
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

    pub fn with_caps(_caps: Caps) -> Session {
        Session::default()
    }

    pub fn xlated(&mut self, _program: &Program) -> Result<Option<Vec<RawInsn>>, KernelError> {
        Err(KernelError::Unavailable)
    }

    pub fn judge(
        &mut self,
        _program: &Program,
        _options: &LoadOptions,
    ) -> Result<LoadOutcome, KernelError> {
        Err(KernelError::Unavailable)
    }

    pub fn load_linked(
        &mut self,
        _program: &Program,
        _others: &[&Program],
        _slots: &[MapSlots],
        _options: &LoadOptions,
    ) -> Result<(LoadOutcome, Option<Loaded>), KernelError> {
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

pub fn stay_on_cpu() -> Result<u32, KernelError> {
    Err(KernelError::Unavailable)
}

pub fn release() -> Result<String, KernelError> {
    Err(KernelError::Unavailable)
}
