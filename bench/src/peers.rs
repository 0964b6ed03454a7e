//! Engines of other projects, run on bare instructions.  They are measured, never linked into bpfassay.

use std::time::Instant;

/// Return value and nanoseconds per run.
pub type Timed = (u64, f64);

fn time(repeat: u32, mut run: impl FnMut() -> u64) -> Timed {
    for _ in 0..repeat.div_ceil(4) {
        std::hint::black_box(run());
    }
    let start = Instant::now();
    let mut r0 = 0;
    for _ in 0..repeat {
        r0 = std::hint::black_box(run());
    }
    (r0, start.elapsed().as_nanos() as f64 / f64::from(repeat))
}

/// rbpf's JIT; `Err` holds its words where it does not take the program.
pub fn rbpf(code: &[u8], data: &[u8], repeat: u32) -> Result<Timed, String> {
    let mut vm = rbpf::EbpfVmRaw::new(Some(code)).map_err(|e| e.to_string())?;
    vm.jit_compile().map_err(|e| e.to_string())?;
    let mut mem = data.to_vec();
    // SAFETY: the programs stay within `mem`; they are this folder's own and a kernel has verified their twins.
    let timed = time(repeat, || unsafe { vm.execute_program_jit(&mut mem).unwrap_or(u64::MAX) });
    // So that the next round's code lies elsewhere, as every engine's does.
    std::mem::forget(vm);
    Ok(timed)
}

/// An engine as `agree` asks it: one run of a program on bytes behind r1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Rbpf,
    RbpfJit,
    #[cfg(ubpf)]
    Ubpf,
    #[cfg(ubpf)]
    UbpfJit,
}

/// No result.
pub struct NoResult {
    /// The program was not taken, so nothing ran.
    pub is_load: bool,
    pub words: String,
}

impl Engine {
    #[cfg(ubpf)]
    pub const ALL: [Engine; 4] = [Engine::Rbpf, Engine::RbpfJit, Engine::Ubpf, Engine::UbpfJit];
    #[cfg(not(ubpf))]
    pub const ALL: [Engine; 2] = [Engine::Rbpf, Engine::RbpfJit];

    pub fn name(self) -> &'static str {
        match self {
            Engine::Rbpf => "rbpf",
            Engine::RbpfJit => "rbpf-jit",
            #[cfg(ubpf)]
            Engine::Ubpf => "ubpf",
            #[cfg(ubpf)]
            Engine::UbpfJit => "ubpf-jit",
        }
    }

    /// r0 after one run, the memory changed.
    pub fn run(self, code: &[u8], memory: &mut [u8]) -> Result<u64, NoResult> {
        let run = || match self {
            Engine::Rbpf => rbpf_once(code, memory, false),
            Engine::RbpfJit => rbpf_once(code, memory, true),
            #[cfg(ubpf)]
            Engine::Ubpf => with_ubpf::once(code, memory, false),
            #[cfg(ubpf)]
            Engine::UbpfJit => with_ubpf::once(code, memory, true),
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Err(NoResult { is_load: false, words: format!("panics: {words}") })
        })
    }
}

fn rbpf_once(code: &[u8], memory: &mut [u8], jit: bool) -> Result<u64, NoResult> {
    let load = |e: std::io::Error| NoResult { is_load: true, words: e.to_string() };
    let run = |e: std::io::Error| NoResult { is_load: false, words: e.to_string() };
    // The machine keeps the borrow for as long as the program's.
    let mut own = memory.to_vec();
    let done = {
        let mut vm = rbpf::EbpfVmRaw::new(Some(code)).map_err(load)?;
        if jit {
            vm.jit_compile().map_err(load)?;
            // SAFETY: our verifier accepted the program, or the process is one that nobody minds.
            unsafe { vm.execute_program_jit(&mut own) }.map_err(run)
        } else {
            vm.execute_program(&mut own).map_err(run)
        }
    };
    memory.copy_from_slice(&own);
    done
}

/// Compile time of rbpf's JIT, nanoseconds.  It panics where the code outgrows its buffer.
pub fn rbpf_compile(code: &[u8]) -> Result<f64, String> {
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(|| {
        let mut vm = rbpf::EbpfVmRaw::new(Some(code)).map_err(|e| e.to_string())?;
        let start = Instant::now();
        vm.jit_compile().map_err(|e| e.to_string())?;
        Ok(start.elapsed().as_nanos() as f64)
    });
    let _ = std::panic::take_hook();
    result.unwrap_or_else(|_| Err("panics".to_string()))
}

#[cfg(not(ubpf))]
pub fn ubpf(_: &[u8], _: &[u8], _: u32) -> Result<Timed, String> {
    Err("built without uBPF (set UBPF_DIR)".to_string())
}

#[cfg(not(ubpf))]
pub fn ubpf_compile(_: &[u8]) -> Result<f64, String> {
    Err("built without uBPF (set UBPF_DIR)".to_string())
}

#[cfg(ubpf)]
pub use with_ubpf::{compile_time as ubpf_compile, ubpf};

#[cfg(ubpf)]
mod with_ubpf {
    use std::ffi::{c_char, c_void, CStr};
    use std::ptr;
    use std::time::Instant;

    use super::{time, NoResult, Timed};

    type Jitted = unsafe extern "C" fn(*mut c_void, usize) -> u64;

    extern "C" {
        fn ubpf_exec(vm: *mut c_void, mem: *mut c_void, len: usize, ret: *mut u64) -> i32;
        fn ubpf_create() -> *mut c_void;
        fn ubpf_destroy(vm: *mut c_void);
        fn ubpf_load(vm: *mut c_void, code: *const c_void, len: u32, err: *mut *mut c_char) -> i32;
        fn ubpf_compile(vm: *mut c_void, err: *mut *mut c_char) -> Option<Jitted>;
    }

    struct Vm(*mut c_void);

    impl Drop for Vm {
        fn drop(&mut self) {
            // SAFETY: created by `ubpf_create` and not given away.
            unsafe { ubpf_destroy(self.0) }
        }
    }

    fn words(err: *mut c_char) -> String {
        if err.is_null() {
            return "no reason given".to_string();
        }
        // SAFETY: uBPF hands over a terminated string.
        unsafe { CStr::from_ptr(err) }.to_string_lossy().into_owned()
    }

    fn compile(code: &[u8]) -> Result<(Vm, Jitted, f64), String> {
        let len = u32::try_from(code.len()).map_err(|e| e.to_string())?;
        let mut err = ptr::null_mut();
        // SAFETY: the calls follow ubpf.h; `code` outlives the load, which copies it.
        unsafe {
            let vm = Vm(ubpf_create());
            if ubpf_load(vm.0, code.as_ptr().cast(), len, &mut err) != 0 {
                return Err(words(err));
            }
            let start = Instant::now();
            let jitted = ubpf_compile(vm.0, &mut err).ok_or_else(|| words(err))?;
            let ns = start.elapsed().as_nanos() as f64;
            Ok((vm, jitted, ns))
        }
    }

    /// uBPF's JIT.
    pub fn ubpf(code: &[u8], data: &[u8], repeat: u32) -> Result<Timed, String> {
        let (vm, jitted, _) = compile(code)?;
        let mut mem = data.to_vec();
        // SAFETY: as for rbpf above.
        let timed = time(repeat, || unsafe { jitted(mem.as_mut_ptr().cast(), mem.len()) });
        std::mem::forget(vm);
        Ok(timed)
    }

        /// One run by interpreter or JIT.
    pub fn once(code: &[u8], memory: &mut [u8], jit: bool) -> Result<u64, NoResult> {
        let no_load = |words| NoResult { is_load: true, words };
        let (to, len) = (memory.as_mut_ptr().cast(), memory.len());
        if jit {
            let (_vm, jitted, _) = compile(code).map_err(no_load)?;
            // SAFETY: our verifier accepted the program, or the process is one that nobody minds.
            return Ok(unsafe { jitted(to, len) });
        }
        let size = u32::try_from(code.len()).map_err(|e| no_load(e.to_string()))?;
        let (mut err, mut r0) = (ptr::null_mut(), 0);
        // SAFETY: the calls follow ubpf.h; `code` and `memory` outlive them.
        unsafe {
            let vm = Vm(ubpf_create());
            if ubpf_load(vm.0, code.as_ptr().cast(), size, &mut err) != 0 {
                return Err(no_load(words(err)));
            }
            match ubpf_exec(vm.0, to, len, &mut r0) {
                0 => Ok(r0),
                n => Err(NoResult { is_load: false, words: format!("ubpf_exec gives {n}") }),
            }
        }
    }

        /// Compile time of uBPF's JIT, nanoseconds.
    pub fn compile_time(code: &[u8]) -> Result<f64, String> {
        compile(code).map(|(_, _, ns)| ns)
    }
}
