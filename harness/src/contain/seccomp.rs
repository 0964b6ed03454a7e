//! The filter of system calls a child runs under: a classic BPF program written here.
//!
//! Allowed: taking and giving back memory (never executable), clocks, random
//! numbers, signals of its own, leaving, and writing to the answer's pipe and to
//! standard error.  Everything else ends the process with SIGSYS.
#![allow(unsafe_code)]

use libc::{
    sock_filter, sock_fprog, BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
};

/// Offsets in `struct seccomp_data`; arguments are little-endian 64-bit numbers.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn arg(n: u32) -> u32 {
    16 + 8 * n
}

/// `AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64`.
const THIS_ARCH: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };

/// Calls whose arguments do not matter.
const FREE: &[libc::c_long] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn load(off: u32) -> sock_filter {
    op(BPF_LD | BPF_W | BPF_ABS, off)
}

fn ret(action: u32) -> sock_filter {
    op(BPF_RET | BPF_K, action)
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Skips `jf` instructions unless the accumulator equals `k`.
fn unless_equal(k: u32, jf: u8) -> sock_filter {
    sock_filter { jf, ..op(BPF_JMP | BPF_JEQ | BPF_K, k) }
}

fn filter(answer: i32, pid: i32) -> Vec<sock_filter> {
    let allow = || ret(libc::SECCOMP_RET_ALLOW);
    let kill = || ret(libc::SECCOMP_RET_KILL_PROCESS);
    let mut f =
        vec![load(ARCH), sock_filter { jt: 1, ..unless_equal(THIS_ARCH, 0) }, kill(), load(NR)];
    for nr in FREE {
        f.extend([unless_equal(*nr as u32, 1), allow()]);
    }
    for nr in [libc::SYS_mmap, libc::SYS_mprotect] {
        let is_code =
            sock_filter { jt: 1, ..op(BPF_JMP | BPF_JSET | BPF_K, libc::PROT_EXEC as u32) };
        f.extend([unless_equal(nr as u32, 4), load(arg(2)), is_code, allow(), kill()]);
    }
    for fd in [answer, libc::STDERR_FILENO] {
        // The number is loaded again, because the argument has taken its place.
        f.extend([load(NR), unless_equal(libc::SYS_write as u32, 3), load(arg(0))]);
        f.extend([unless_equal(fd as u32, 1), allow()]);
    }
    f.extend([load(NR), unless_equal(libc::SYS_tgkill as u32, 3), load(arg(0))]);
    f.extend([unless_equal(pid as u32, 1), allow(), kill()]);
    f
}

/// Puts this thread under the filter, for good.
pub fn install(answer: i32) -> Result<(), ()> {
    // SAFETY: asks for a number.
    let pid = unsafe { libc::getpid() };
    let mut filter = filter(answer, pid);
    let len = u16::try_from(filter.len()).map_err(drop)?;
    let program = sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes numbers; the second reads the program, which lives.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) == 0
    };
    done.then_some(()).ok_or(())
}
