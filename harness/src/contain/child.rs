//! Fork, limits, pipe and the wait for an answer.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

use super::{Failure, Limits};
use crate::native::fault;

/// What a child says that found no filter.
const NO_FILTER: i32 = 102;
/// Longest answer kept.
const MAX_ANSWER: usize = 1 << 30;

pub fn contain<T>(
    limits: &Limits,
    prepare: impl FnOnce() -> T,
    run: impl FnOnce(T) -> Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let memory = limits.memory.saturating_add(address_space());
    fork(limits.time, |writer| {
        limit(limits, memory);
        let ready = prepare();
        lock(writer.as_raw_fd(), limits.may_lack_filter);
        run(ready)
    })
}

pub fn within(time: Duration, run: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    fork(time, |_| run())
}

/// A child that answers with what `work` gives.
fn fork(time: Duration, work: impl FnOnce(&File) -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    let (reader, writer) = pipe()?;
    let parent = std::process::id();
    // SAFETY: the child runs Rust code after the fork, which is sound as long as nobody else
    // held a lock it takes; it leaves through `_exit` and never returns from this function.
    match unsafe { libc::fork() } {
        -1 => Err(failed("fork")),
        0 => {
            drop(reader);
            // Never closed: closing is a call the child may not make.
            let writer = ManuallyDrop::new(File::from(writer));
            let answered = catch_unwind(AssertUnwindSafe(|| {
                std::panic::set_hook(Box::new(|_| {}));
                die_with(parent);
                let answer = work(&writer);
                (&*writer).write_all(&answer).is_ok()
            }));
            // SAFETY: ends the child without the parent's destructors and buffers.
            unsafe { libc::_exit(if answered.unwrap_or(false) { 0 } else { 101 }) }
        }
        pid => {
            drop(writer);
            let mut child = Child { pid, end: None };
            let answer = read(&reader, time, &mut child);
            if answer.is_err() {
                child.kill();
            }
            let end = child.wait();
            let answer = answer?;
            match end {
                End::Signal(n) => Err(Failure::Signal(n)),
                End::Exit(0) => Ok(answer),
                End::Exit(NO_FILTER) => Err(Failure::NoFilter),
                End::Exit(_) => Err(Failure::NoAnswer),
            }
        }
    }
}

fn failed(what: &'static str) -> Failure {
    Failure::System(what, std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Err(failed("pipe"));
    }
    // SAFETY: both were just made and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Bytes of address space this process has.
fn address_space() -> u64 {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(1 << 20);
    pages.saturating_mul(PAGE)
}

/// Gives up what the child does not need; a limit that cannot be set is left.
fn limit(limits: &Limits, memory: u64) {
    let seconds = limits.time.as_secs().saturating_add(2);
    let set = |resource, value: u64| {
        let value = libc::rlim_t::try_from(value).unwrap_or(libc::RLIM_INFINITY);
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: reads one structure.
        unsafe { libc::setrlimit(resource, &limit) };
    };
    set(libc::RLIMIT_CORE, 0);
    set(libc::RLIMIT_CPU, seconds);
    set(libc::RLIMIT_AS, memory);
    set(libc::RLIMIT_FSIZE, 0);
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
        // SAFETY: the default action, which ends the child: no handler of the parent's runs in it.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    fault::forget();
}

#[cfg(target_os = "linux")]
fn lock(answer: i32, may_lack_filter: bool) {
    if super::seccomp::install(answer).is_err() && !may_lack_filter {
        // Without the filter nothing runs.
        // SAFETY: ends the child.
        unsafe { libc::_exit(NO_FILTER) };
    }
}

/// Other systems have limits and a process of its own, no filter.
#[cfg(not(target_os = "linux"))]
fn lock(_answer: i32, _may_lack_filter: bool) {}

/// The child ends when its parent does, however that ends.
#[cfg(target_os = "linux")]
fn die_with(parent: u32) {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have ended before the call.
    if std::os::unix::process::parent_id() != parent {
        // SAFETY: ends the child.
        unsafe { libc::_exit(101) }
    }
}

/// Processor time ends the child here.
#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32) {}

/// Reads until the child closes the pipe or ends, or its time is up.
fn read(from: &OwnedFd, time: Duration, child: &mut Child) -> Result<Vec<u8>, Failure> {
    /// How often is looked whether the child has ended: another child, forked meanwhile by
    /// another thread, may hold its end of the pipe open.
    const LOOK_MS: i32 = 20;
    let deadline = Instant::now() + time;
    let mut answer = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::TimeLimit(time));
        }
        let ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).clamp(1, LOOK_MS);
        let has_ended = child.has_ended();
        let mut ready = libc::pollfd { fd: from.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, which is open.
        match unsafe { libc::poll(&mut ready, 1, ms) } {
            0 if has_ended => return Ok(answer),
            n if n <= 0 => continue,
            _ => {}
        }
        // SAFETY: the buffer is as long as stated.
        let n = unsafe { libc::read(from.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(n) {
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend_from_slice(buffer.get(..n).unwrap_or(&buffer)),
            Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {
            }
            Err(_) => return Err(failed("read")),
        }
        if answer.len() > MAX_ANSWER {
            return Err(Failure::TooLong);
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Exit(i32),
    Signal(i32),
}

struct Child {
    pid: i32,
    end: Option<End>,
}

impl Child {
    fn kill(&self) {
        if self.end.is_none() {
            // SAFETY: a child of ours that has not been waited for.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
    }

    fn has_ended(&mut self) -> bool {
        if self.end.is_none() {
            self.end = self.ask(libc::WNOHANG);
        }
        self.end.is_some()
    }

    fn wait(&mut self) -> End {
        loop {
            if let Some(end) = self.end.or_else(|| self.ask(0)) {
                return end;
            }
        }
    }

    fn ask(&self, flags: i32) -> Option<End> {
        let mut status = 0;
        // SAFETY: writes one number.
        match unsafe { libc::waitpid(self.pid, &mut status, flags) } {
            0 => None,
            -1 if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => None,
            -1 => Some(End::Exit(101)),
            _ if libc::WIFSIGNALED(status) => Some(End::Signal(libc::WTERMSIG(status))),
            _ => Some(End::Exit(libc::WEXITSTATUS(status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { time: Duration::from_secs(5), memory: 256 << 20, may_lack_filter: true }
    }

    fn outcome(run: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
        contain(&limits(), || (), |()| run())
    }

    #[test]
    fn time_is_all_that_a_child_within_is_denied() {
        let read = || std::fs::read("/proc/self/comm").unwrap_or_default();
        assert!(!within(Duration::from_secs(5), read).expect("an answer").is_empty());
        let time = Duration::from_millis(200);
        let forever = || loop {
            std::hint::spin_loop();
        };
        let start = Instant::now();
        assert_eq!(within(time, forever), Err(Failure::TimeLimit(time)));
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn an_answer_comes_back_whole() {
        let long: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        let same = long.clone();
        assert_eq!(outcome(move || same), Ok(long));
    }

    #[test]
    fn crashes_are_results() {
        // SAFETY: ends the child.
        let wild = outcome(|| unsafe {
            std::ptr::without_provenance_mut::<u8>(0x1234_5678).write_volatile(1);
            Vec::new()
        });
        assert_eq!(wild, Err(Failure::Signal(libc::SIGSEGV)));
        assert_eq!(outcome(|| panic!("no words of this are printed")), Err(Failure::NoAnswer));
        let endless = Limits { time: Duration::from_millis(200), ..limits() };
        let stuck = contain(
            &endless,
            || (),
            |()| loop {
                std::hint::spin_loop()
            },
        );
        assert_eq!(stuck, Err(Failure::TimeLimit(endless.time)));
    }

    /// The address space a child has, as the system says before the filter is there.
    fn bound() -> u64 {
        let ask = || {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: writes one structure.
            unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
            limit.rlim_cur
        };
        let answer = contain(&limits(), ask, |n| n.to_le_bytes().to_vec()).expect("an answer");
        u64::from_le_bytes(answer.try_into().expect("eight bytes"))
    }

    #[test]
    fn memory_is_bounded() {
        if bound() == libc::RLIM_INFINITY {
            // qemu-user says yes to this limit and does not keep it.
            if cfg!(not(target_arch = "aarch64")) {
                panic!("only there");
            }
            return;
        }
        let hungry = outcome(|| {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            while kept.len() < 1 << 10 {
                let mut more = Vec::new();
                if more.try_reserve_exact(16 << 20).is_err() {
                    return b"refused".to_vec();
                }
                kept.push(more);
            }
            Vec::new()
        });
        assert_eq!(hungry, Ok(b"refused".to_vec()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn other_system_calls_kill() {
        let strict = Limits { may_lack_filter: false, ..limits() };
        let filtered = contain(&strict, || (), |()| b"ran".to_vec());
        if filtered == Err(Failure::NoFilter) {
            // Nothing ran, as nobody had said that it may; only qemu-user has no filter.
            if cfg!(not(target_arch = "aarch64")) {
                panic!("only there");
            }
            return;
        }
        assert_eq!(filtered, Ok(b"ran".to_vec()));
        let opened = outcome(|| std::fs::read("/etc/hostname").unwrap_or_default());
        assert_eq!(opened, Err(Failure::Signal(libc::SIGSYS)));
        // SAFETY: asks for code pages, which are never used.
        let code = outcome(|| unsafe {
            let prot = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0);
            Vec::new()
        });
        assert_eq!(code, Err(Failure::Signal(libc::SIGSYS)));
        let other = outcome(|| {
            // SAFETY: would print to standard output.
            unsafe { libc::write(1, b"x".as_ptr().cast(), 1) };
            Vec::new()
        });
        assert_eq!(other, Err(Failure::Signal(libc::SIGSYS)));
    }
}
