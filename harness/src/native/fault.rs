//! Accesses that fault in compiled code: those the verifier expected read as zero, others end the run.
//!
//! On Linux a signal handler, set once, looks up the instruction in the map of the code
//! that runs on its thread and changes where the thread goes on; what faulted elsewhere is left to whoever handled
//! it before.  On other systems nothing is caught, and code the verifier lets read
//! anywhere is not run ([`IS_CAUGHT`]).
#![allow(unsafe_code)]

/// True where faults are caught.
pub const IS_CAUGHT: bool =
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

/// Where to go on after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    pub pc: u64,
    /// Machine register to set to 0, [`u8::MAX`] for none; None where the run ends.
    pub clear: Option<u8>,
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use linux::{catch, forget};

/// Sets the handler, the first time.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn catch() {}

/// Says that the handler is gone and nobody stood before it: in a new process that cleared it.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn forget() {}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux {
    use std::mem::MaybeUninit;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::OnceLock;

    use super::super::machine::active;

    /// What may happen in code that goes wrong: bad address, bad page, division, no instruction.
    const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

    static BEFORE: OnceLock<[libc::sigaction; 4]> = OnceLock::new();
    static IS_SET: AtomicBool = AtomicBool::new(false);
    /// What stood before was another process's.
    static IS_ALONE: AtomicBool = AtomicBool::new(false);

    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

    /// Sets the handler, the first time.
    #[inline]
    pub fn catch() {
        if !IS_SET.load(Ordering::Acquire) {
            set();
        }
    }

    #[cold]
    fn set() {
        let mut is_first = false;
        BEFORE.get_or_init(|| {
            is_first = true;
            SIGNALS.map(install)
        });
        if !is_first && IS_ALONE.load(Ordering::Relaxed) {
            let _ = SIGNALS.map(install);
        }
        IS_SET.store(true, Ordering::Release);
    }

    /// Says that the handler is gone and nobody stood before it: in a new process that cleared it.
    pub fn forget() {
        IS_ALONE.store(true, Ordering::Relaxed);
        IS_SET.store(false, Ordering::Release);
    }

    fn install(signal: libc::c_int) -> libc::sigaction {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        let function: Handler = handle;
        // SAFETY: all-zero is a valid `sigaction`; the handler has the form SA_SIGINFO asks for
        // and only does what a handler may.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = function as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, before.as_mut_ptr());
            before.assume_init()
        }
    }

    extern "C" fn handle(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel hands over a context of this type, ours until we return.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        // SAFETY: as above; the address is there for the two memory signals.
        let addr = unsafe { (*info).si_addr() } as u64;
        let addr = matches!(signal, libc::SIGSEGV | libc::SIGBUS).then_some(addr);
        let machine = active();
        if !machine.is_null() {
            // SAFETY: the machine is entered and so alive; code of ours is interrupted, which does
            // not look at it.
            let resume = unsafe { (*machine).on_fault(pc(context), addr) };
            if let Some(r) = resume {
                if let Some(reg) = r.clear {
                    clear(context, reg);
                }
                return set_pc(context, r.pc);
            }
        }
        // Not ours: as it was before, and once more.
        let before = BEFORE
            .get()
            .filter(|_| !IS_ALONE.load(Ordering::Relaxed))
            .and_then(|b| SIGNALS.iter().position(|s| *s == signal).and_then(|i| b.get(i)));
        match before {
            // SAFETY: an action the system gave out itself.
            Some(before) => unsafe { libc::sigaction(signal, before, null_mut()) },
            // SAFETY: the default action.
            None => unsafe { libc::signal(signal, libc::SIG_DFL) as libc::c_int },
        };
    }

    #[cfg(target_arch = "x86_64")]
    fn pc(c: &libc::ucontext_t) -> u64 {
        c.uc_mcontext.gregs[libc::REG_RIP as usize] as u64
    }

    #[cfg(target_arch = "x86_64")]
    fn set_pc(c: &mut libc::ucontext_t, to: u64) {
        c.uc_mcontext.gregs[libc::REG_RIP as usize] = to as i64;
    }

    #[cfg(target_arch = "x86_64")]
    fn clear(c: &mut libc::ucontext_t, reg: u8) {
        // In the order of the processor's numbers.
        const REGS: [libc::c_int; 16] = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        if let Some(r) = REGS.get(reg as usize) {
            c.uc_mcontext.gregs[*r as usize] = 0;
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn pc(c: &libc::ucontext_t) -> u64 {
        c.uc_mcontext.pc
    }

    #[cfg(target_arch = "aarch64")]
    fn set_pc(c: &mut libc::ucontext_t, to: u64) {
        c.uc_mcontext.pc = to;
    }

    #[cfg(target_arch = "aarch64")]
    fn clear(c: &mut libc::ucontext_t, reg: u8) {
        if let Some(r) = c.uc_mcontext.regs.get_mut(reg as usize) {
            *r = 0;
        }
    }
}
