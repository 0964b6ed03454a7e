//! The tracing calls themselves: a command and every process it starts, stopped at each `bpf(2)`.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A stop at a system call of a traced thread.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Before the call: its number and arguments.
    Entry { tid: i32, nr: u64, args: [u64; 6] },
    /// After it: what it returned, negative for an errno.
    Exit { tid: i32, result: i64 },
}

/// `struct ptrace_syscall_info` as far as it is read here.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// Entry: number and six arguments.  Exit: result, then whether it is an error.
    words: [u64; 7],
}

const GET_SYSCALL_INFO: u32 = 0x420e;
const OP_ENTRY: u8 = 1;
const OP_EXIT: u8 = 2;

/// Runs the command to its end and shows each stop to `on_stop`; its exit status.
///
/// # Errors
/// A command that cannot be run or traced.
pub fn run(command: &[String], mut on_stop: impl FnMut(Stop)) -> io::Result<i32> {
    let (program, args) =
        command.split_first().ok_or_else(|| io::Error::other("there is no command"))?;
    let mut child = Command::new(program);
    child.args(args);
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        child.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let first = child.spawn()?.id() as i32;
    let mut known = HashSet::new();
    let mut status = 0;
    loop {
        let mut raw = 0;
        // SAFETY: `raw` is written before the call returns.
        let tid = unsafe { libc::waitpid(-1, &mut raw, libc::__WALL) };
        if tid < 0 {
            match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::EINTR) => continue,
                e if e.raw_os_error() == Some(libc::ECHILD) => return Ok(status),
                e => return Err(e),
            }
        }
        if libc::WIFEXITED(raw) || libc::WIFSIGNALED(raw) {
            known.remove(&tid);
            if tid == first {
                status = match libc::WIFEXITED(raw) {
                    true => libc::WEXITSTATUS(raw),
                    false => 128 + libc::WTERMSIG(raw),
                };
            }
            continue;
        }
        let signal = stopped(tid, raw, &mut known, &mut on_stop);
        // SAFETY: the thread is stopped; one that is gone by now makes the call fail, which does not matter.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0, libc::c_long::from(signal)) };
    }
}

/// What to do about a stop: the signal that the thread goes on with.
fn stopped(
    tid: i32,
    raw: i32,
    known: &mut HashSet<i32>,
    on_stop: &mut impl FnMut(Stop),
) -> libc::c_int {
    const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    let signal = libc::WSTOPSIG(raw);
    if known.insert(tid) {
        // SAFETY: the thread is stopped and ours.
        unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, tid, 0, libc::c_long::from(OPTIONS)) };
        // A new thread begins with SIGSTOP, the command with SIGTRAP.
        if signal == libc::SIGSTOP || signal == libc::SIGTRAP {
            return 0;
        }
    }
    if signal == libc::SIGTRAP | 0x80 {
        if let Some(stop) = syscall_info(tid) {
            on_stop(stop);
        }
        return 0;
    }
    // Events of tracing are no signals.
    if signal == libc::SIGTRAP && raw >> 16 != 0 {
        return 0;
    }
    signal
}

fn syscall_info(tid: i32) -> Option<Stop> {
    let mut info = SyscallInfo::default();
    let size = std::mem::size_of::<SyscallInfo>();
    // SAFETY: the thread is stopped, and the kernel writes at most `size` bytes of a plain structure.
    let got = unsafe { libc::ptrace(GET_SYSCALL_INFO as _, tid, size, &raw mut info) };
    if got <= 0 {
        return None;
    }
    match info.op {
        OP_ENTRY => {
            let [nr, args @ ..] = info.words;
            Some(Stop::Entry { tid, nr, args })
        }
        OP_EXIT => Some(Stop::Exit { tid, result: info.words[0] as i64 }),
        _ => None,
    }
}

/// Memory of a traced process; shorter than asked where it ends.
pub fn read(tid: i32, addr: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0u8; len];
    let local = libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: len };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(addr as usize),
        iov_len: len,
    };
    // SAFETY: `local` names `out`, which lives longer than the call; the other process's memory is only read.
    let got = unsafe { libc::process_vm_readv(tid, &local, 1, &remote, 1, 0) };
    out.truncate(usize::try_from(got).unwrap_or(0));
    out
}
