//! Descriptors of BTF: the object's own, loaded; the kernel's, looked up by name.

use std::os::fd::{AsRawFd, OwnedFd};

use bpfassay_object::model::KernelBtfRef;

use super::{sys, KernelError};

/// Loads a program's BTF; on refusal asks again for the kernel's words.
pub fn load_program_btf(data: &[u8]) -> Result<OwnedFd, KernelError> {
    if let Ok(fd) = sys::btf_load(data, &mut []) {
        return Ok(fd);
    }
    let mut log = vec![0u8; 1 << 20];
    sys::btf_load(data, &mut log).map_err(|errno| {
        let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
        match errno {
            libc::EPERM => KernelError::NotPermitted,
            libc::ENOSYS => KernelError::Unavailable,
            _ => KernelError::Btf { errno, log: String::from_utf8_lossy(&log[..end]).into_owned() },
        }
    })
}

/// Descriptors for [`bpfassay_object::model::Program::btfs`]; vmlinux is `None` (0 in the system call).
pub fn kernel_btfs(wanted: &[KernelBtfRef]) -> Result<Vec<Option<OwnedFd>>, KernelError> {
    wanted
        .iter()
        .map(|b| match b {
            KernelBtfRef::Vmlinux => Ok(None),
            KernelBtfRef::Module(name) => module_btf(name).map(Some),
        })
        .collect()
}

/// Number for the system call: 0 stands for vmlinux.
pub fn fd_number(fd: Option<&Option<OwnedFd>>) -> Option<i32> {
    fd.map(|f| f.as_ref().map_or(0, |f| f.as_raw_fd()))
}

fn module_btf(name: &str) -> Result<OwnedFd, KernelError> {
    let mut id = 0;
    loop {
        let what = "listing kernel BTFs";
        match sys::btf_next_id(id).map_err(|errno| KernelError::Call { what, errno })? {
            None => {
                return Err(KernelError::Program(format!(
                    "the running kernel has no BTF of module '{name}'"
                )))
            }
            Some(next) => id = next,
        }
        // An object may vanish between the two calls.
        let Ok(fd) = sys::btf_by_id(id) else { continue };
        if sys::btf_name(fd.as_raw_fd() as u32) == Ok((name.to_owned(), true)) {
            return Ok(fd);
        }
    }
}
