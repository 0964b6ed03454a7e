//! BPF_PROG_TEST_RUN: runs a loaded program once, or timed, without attaching it.

use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{attr, sys, KernelError, Loaded, TestRun, TestRunResult};

impl Loaded {
    /// Runs the program in the kernel; an error is the kernel's refusal of the input, not a verdict.
    pub fn test_run(&self, input: &TestRun<'_>) -> Result<TestRunResult, KernelError> {
        let mut data_out = vec![0u8; if input.data.is_empty() { 0 } else { input.data_out }];
        let mut ctx_out = vec![0u8; if input.takes_ctx_out { input.ctx.len() } else { 0 }];
        let mut a = attr::TestRunAttr {
            prog_fd: self.prog.as_raw_fd() as u32,
            repeat: input.repeat,
            flags: input.flags,
            cpu: input.cpu,
            ..Default::default()
        };
        let mut ctx = input.ctx.to_vec();
        sys::test_run(&mut a, input.data, &mut data_out, &mut ctx, &mut ctx_out)
            .map_err(|errno| KernelError::Call { what: "BPF_PROG_TEST_RUN", errno })?;
        data_out.truncate(a.data_size_out as usize);
        ctx_out.truncate(a.ctx_size_out as usize);
        if !input.takes_ctx_out {
            // Syscall programs get theirs back where it was.
            ctx_out = ctx;
        }
        Ok(TestRunResult {
            retval: a.retval,
            duration: Duration::from_nanos(u64::from(a.duration)),
            data_out,
            ctx_out,
        })
    }
}
